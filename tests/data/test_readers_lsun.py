"""LSUN's LMDB: the order of its keys, and files that are no LMDB or are truncated.

Covers: `readers.lsun`.
"""

import os

import lmdb
import numpy as np
import pytest
import real_files
from reader_checks import KINDS, pictures, read_all, refusal

from fdrl_jax.data import readers
from fdrl_jax.data.readers.decoding import decode


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", ["WEBP", "JPEG"])
def test_lsun_in_the_order_of_its_keys(kind, encoding, tmp_path):
    values = [real_files.encoded(image, encoding, quality=90) for image in pictures(kind, 12, 64, 85)]
    folder = real_files.write_lsun(tmp_path / "church_outdoor_train_lmdb", values)
    reader = readers.lsun(folder)
    assert reader.labels is None
    with lmdb.open(str(real_files.write_lsun(tmp_path / "copy", values))) as environment, environment.begin() as view:
        stored = list(view.cursor())
    assert [reader.name(i) for i in range(12)] == [f"{folder} key {key.decode()}" for key, _ in stored]
    for image, (_, value) in zip(read_all(reader), stored, strict=True):
        assert image.shape == (64, 85, 3)
        np.testing.assert_array_equal(image, np.asarray(decode(value).convert("RGB")))


def test_lsun_may_be_opened_twice_and_writes_no_file(tmp_path):
    folder = real_files.write_lsun(tmp_path / "a lmdb", [real_files.encoded(pictures()[0], "PNG")])
    (folder / "lock.mdb").unlink()
    (tmp_path / "link").symlink_to(folder)
    first, second = readers.lsun(folder), readers.lsun(tmp_path / "link")
    np.testing.assert_array_equal(np.asarray(first.read(0)), np.asarray(second.read(0)))
    assert os.listdir(folder) == ["data.mdb"]
    del first, second
    with lmdb.open(str(folder)) as environment:  # LMDB refuses this if the process still has it open.
        assert environment.stat()["entries"] == 1


def test_lsun_may_be_larger_than_lmdbs_default_map(tmp_path):
    # The default map has 10 MiB.
    noise = np.random.default_rng(0).integers(0, 256, (13, 600, 600, 3), dtype=np.uint8)
    folder = real_files.write_lsun(tmp_path / "large", [real_files.encoded(image, "PNG") for image in noise])
    assert (folder / "data.mdb").stat().st_size > 12e6
    assert {image.tobytes() for image in read_all(readers.lsun(folder))} == {image.tobytes() for image in noise}


def test_a_folder_without_an_lmdb_is_refused(tmp_path):
    (tmp_path / "x.png").touch()
    refusal(lambda: readers.lsun(tmp_path), f"{tmp_path} has no data.mdb", "https://")
    refusal(lambda: readers.lsun(tmp_path / "x.png"), "x.png has no data.mdb")
    for content in (b"", b"<html>not found</html>", bytes(100_000), np.random.default_rng(0).bytes(100_000)):
        (tmp_path / "data.mdb").write_bytes(content)
        refusal(lambda: readers.lsun(tmp_path), tmp_path / "data.mdb", "is not an LMDB, or damaged", "https://")
    empty = real_files.write_lsun(tmp_path / "empty", [])
    refusal(lambda: readers.lsun(empty), empty / "data.mdb", "has no images in it")
    refusal(lambda: readers.lsun(empty.parent / "empty" / ".."), "is not an LMDB")
    parent = tmp_path / "parent"
    real_files.write_lsun(parent / "church_outdoor_train_lmdb", [b"x"])
    refusal(lambda: readers.lsun(parent), "give one of the folders in it: church_outdoor_train_lmdb")


def test_a_truncated_lmdb_is_refused(tmp_path):
    # Reading beyond the end of the file would kill the process.
    values = [real_files.encoded(image, "PNG") for image in pictures(height=100, width=100)]
    file = real_files.write_lsun(tmp_path / "cut", values) / "data.mdb"
    whole = file.read_bytes()
    for size in (4096, 8192, len(whole) // 2, len(whole) - 4096, len(whole) - 1):
        file.write_bytes(whole[:size])
        refusal(lambda: readers.lsun(file.parent), file, "is not an LMDB, or damaged")
    file.write_bytes(whole)
    assert len(readers.lsun(file.parent)) == 12
