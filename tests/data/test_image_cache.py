"""The image cache: its images, interrupted preparations, images that cannot be read, and damaged caches."""

import json
import os
import shutil
import threading

import numpy as np
import pytest

from fdrl_jax import data
from fdrl_jax.data import image_cache
from fdrl_jax.data.transform import ImageError
from fdrl_jax.types import InputError


class Images:
    """A reader of numbered 4x4 images. Those in `bad` cannot be read; reading `interrupt` raises KeyboardInterrupt."""

    def __init__(self, count, bad=(), interrupt=None, version="a", labels=None):
        self.count, self.bad, self.interrupt, self.version, self.labels = count, set(bad), interrupt, version, labels
        self.indices_read = []

    def __len__(self):
        return self.count

    def name(self, index):
        return f"image {index}"

    def read(self, index):
        self.indices_read.append(index)
        if index == self.interrupt:
            raise KeyboardInterrupt
        if index in self.bad:
            raise ImageError("is torn")
        return np.full((4, 4, 3), index % 256, np.uint8)

    def signature(self):
        return self.version


def source(reader, on_error="stop", path="somewhere", transform="", selection=""):
    return data.Source("things", path, selection, reader, data.Transform.parse(transform, 4, 3), on_error)


def prepare(tmp_path, reader, **options):
    return data.prepare(source(reader, **options), tmp_path, progress=False, workers=2)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(image_cache, "_CHUNK", 8)


def pixels(cached):
    return cached.images[:, 0, 0, 0].tolist()


def test_images_are_in_the_readers_order_and_read_once(tmp_path):
    reader = Images(30, labels=np.arange(30) % 7)
    cached = prepare(tmp_path, reader)
    assert pixels(cached) == list(range(30))
    assert (cached.images.shape, cached.images.dtype) == ((30, 4, 4, 3), np.uint8)
    assert isinstance(cached.images, np.memmap)
    np.testing.assert_array_equal(cached.labels, np.arange(30) % 7)
    assert sorted(reader.indices_read) == list(range(30))
    again = Images(30, labels=np.arange(30) % 7)
    np.testing.assert_array_equal(prepare(tmp_path, again).images, cached.images)
    assert again.indices_read == []
    assert len(list(tmp_path.iterdir())) == 2  # The folder of the cache and its lock.


def test_an_interrupted_preparation_is_resumed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, Images(50, bad=[3], interrupt=29), on_error="skip")
    assert image_cache.load(source(Images(50), on_error="skip"), tmp_path) is None
    reader = Images(50, bad=[3])
    cached = prepare(tmp_path, reader, on_error="skip")
    assert min(reader.indices_read) == 24  # Three chunks of 8 were written.
    assert pixels(cached) == [i for i in range(50) if i != 3]
    assert cached.skipped == ("image 3",)


def test_images_that_become_unreadable_after_an_interruption_are_not_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, Images(20, interrupt=19), on_error="skip")
    assert pixels(prepare(tmp_path, Images(20, bad=[16, 17, 18]), on_error="skip")) == [*range(16), 19]


@pytest.mark.parametrize("damage", ["progress", "files"])
def test_a_preparation_that_cannot_be_resumed_starts_again(damage, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, Images(20, interrupt=17))
    (part,) = tmp_path.glob("*.part")
    if damage == "progress":
        (part / image_cache.PROGRESS).write_text("{half")
    reader = Images(20, version="b" if damage == "files" else "a")
    assert pixels(prepare(tmp_path, reader)) == list(range(20))
    assert sorted(reader.indices_read) == list(range(20))


def test_changed_files_are_read_again(tmp_path):
    old = prepare(tmp_path, Images(10))
    reader = Images(10, version="b")
    new = prepare(tmp_path, reader)
    assert len(reader.indices_read) == 10
    assert new.digest == old.digest  # The pixels are the same.
    assert pixels(old) == list(range(10))  # A run that has the old file open can still read it.
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 1


@pytest.mark.parametrize("change", [{"path": "elsewhere"}, {"transform": "pad:4"}, {"selection": "test"}])
def test_another_path_transform_or_selection_has_a_cache_of_its_own(change, tmp_path):
    prepare(tmp_path, Images(10))
    assert image_cache.load(source(Images(10), **change), tmp_path) is None
    prepare(tmp_path, Images(10), **change)
    assert image_cache.load(source(Images(10)), tmp_path) is not None


def test_a_bad_image_is_named_and_leaves_no_finished_cache(tmp_path):
    with pytest.raises(
        InputError, match=r"^image 11 is torn\. Repair or remove it, or use --config.data.on_error=skip"
    ):
        prepare(tmp_path, Images(20, bad=[11, 13]))
    assert image_cache.load(source(Images(20)), tmp_path) is None
    reader = Images(20)
    prepare(tmp_path, reader)
    assert min(reader.indices_read) == 8


def test_skipped_images_are_counted_and_have_no_labels(tmp_path, capsys):
    cached = prepare(tmp_path, Images(20, bad=[0, 11, 19], labels=np.arange(20)), on_error="skip")
    good = [i for i in range(20) if i not in (0, 11, 19)]
    assert pixels(cached) == cached.labels.tolist() == good
    assert cached.skipped == ("image 0", "image 11", "image 19")
    assert "3 of 20 images in somewhere were skipped; the last: image 19 is torn" in capsys.readouterr().out


def test_after_a_bad_image_the_preparation_resumes_with_skipping(tmp_path):
    with pytest.raises(InputError, match="image 11"):
        prepare(tmp_path, Images(20, bad=[11]))
    reader = Images(20, bad=[11])
    assert prepare(tmp_path, reader, on_error="skip").skipped == ("image 11",)
    assert min(reader.indices_read) == 8
    assert not list(tmp_path.glob("*.part"))
    # A cache without the skipped images is not used if skipping is not allowed, and is not removed either.
    with pytest.raises(InputError, match="image 11"):
        prepare(tmp_path, Images(20, bad=[11]))
    assert len(prepare(tmp_path, Images(20, bad=[11]), on_error="skip").images) == 19


def test_an_image_that_another_config_can_use_is_not_offered_to_be_skipped(tmp_path):
    reader = Images(3)
    reader.read = lambda index: np.zeros((5, 5, 3), np.uint8)
    with pytest.raises(InputError, match=r"as config\.data\.transform, ") as caught:
        prepare(tmp_path, reader)
    assert "on_error" not in str(caught.value)


def test_the_digest_depends_on_the_pixels_alone(tmp_path):
    digests = [prepare(tmp_path / str(i), Images(n)).digest for i, n in enumerate((10, 10, 11))]
    assert digests[0] == digests[1] != digests[2]


def test_other_errors_of_a_reader_become_one_line_with_the_name_of_the_image(tmp_path):
    reader = Images(3)
    reader.read = lambda index: (_ for _ in ()).throw(KeyError("two\nlines"))
    with pytest.raises(InputError, match=r"^image 0 cannot be read \(KeyError: .*\)") as caught:
        prepare(tmp_path, reader)
    assert "\n" not in str(caught.value)


def test_no_usable_image_is_an_error(tmp_path):
    with pytest.raises(InputError, match="none of the 4 images in somewhere can be used: image 3 is torn"):
        prepare(tmp_path, Images(4, bad=range(4)), on_error="skip")
    assert image_cache.load(source(Images(4), on_error="skip"), tmp_path) is None


def test_too_little_disk_space_is_reported_before_any_image_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**40, 2**40 - 2**26, 2**26))
    reader = Images(20)
    with pytest.raises(InputError, match=r"cache of 20 images needs 0\.1 GiB in .* which has 0\.1 GiB left"):
        prepare(tmp_path, reader)
    assert reader.indices_read == []


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written \(.*\): choose another place with --config.data.cache"):
        prepare(tmp_path / "file", Images(3))


@pytest.mark.parametrize("damage", ["short", "long", "meta", "no images"])
def test_a_damaged_cache_is_named(damage, tmp_path):
    prepare(tmp_path, Images(10))
    (folder,) = (p for p in tmp_path.iterdir() if p.is_dir())
    if damage in ("short", "long"):
        os.truncate(folder / image_cache.IMAGES, 100 if damage == "short" else 1000)
    elif damage == "meta":
        (folder / image_cache.META).write_text("[]")
    else:
        (folder / image_cache.IMAGES).unlink()
    with pytest.raises(InputError, match=r"things-\w+ is damaged .*: remove that folder"):
        prepare(tmp_path, Images(10))


def test_of_two_simultaneous_preparations_one_waits_for_the_other(tmp_path):
    readers = [Images(40), Images(40)]
    results = []
    threads = [threading.Thread(target=lambda r=r: results.append(prepare(tmp_path, r))) for r in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [pixels(cached) for cached in results] == [list(range(40))] * 2
    assert sorted(readers[0].indices_read + readers[1].indices_read) == list(range(40))


def test_meta_json_describes_the_cache(tmp_path):
    prepare(tmp_path, Images(5))
    (folder,) = (p for p in tmp_path.iterdir() if p.is_dir())
    meta = json.loads((folder / image_cache.META).read_text())
    assert (meta["source"], meta["shape"]) == ("somewhere", [5, 4, 4, 3])
