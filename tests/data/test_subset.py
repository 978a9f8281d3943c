"""Subsets of the images of a reader: every n-th image, and the images of one class."""

import numpy as np

from fdrl_jax import data


def numbered(labels):
    """A reader of images 4x4x3 whose pixels all have the image's index as value."""
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None] * np.ones((4, 4, 3), np.uint8)
    return data.readers.ArrayReader(images, np.asarray(labels), lambda i: f"image {i}", "digest")


def values(reader):
    return [int(reader.read(i)[0, 0, 0]) for i in range(len(reader))]


def test_every_nth_gives_disjoint_parts_that_make_the_whole(tmp_path):
    whole = numbered(range(11))
    parts = [data.every_nth(whole, k, 3) for k in range(3)]
    assert [len(part) for part in parts] == [4, 4, 3]
    assert sorted(value for part in parts for value in values(part)) == list(range(11))
    assert parts[1].name(2) == "image 7"
    np.testing.assert_array_equal(parts[1].labels, [1, 4, 7, 10])
    assert len({part.signature() for part in parts}) == 3
    source = data.Source("things", "somewhere", "", parts[2], data.Transform.parse("", 4, 3))
    assert data.prepare(source, tmp_path, progress=False).images[:, 0, 0, 0].tolist() == [2, 5, 8]


def test_a_class_and_every_nth_image_of_it():
    whole = numbered(np.arange(12) % 3)
    some = data.every_nth(data.of_class(whole, 1), 1, 2)
    assert values(some) == [4, 10]
    assert [some.name(i) for i in range(len(some))] == ["image 4", "image 10"]
    assert some.labels.tolist() == [1, 1]
    assert len({r.signature() for r in (whole, some, data.of_class(whole, 1), data.of_class(whole, 2))}) == 4
