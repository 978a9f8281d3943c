"""IDX files in all their layouts, damaged ones, and Fashion-MNIST.

Covers: `readers.idx`.
"""

import zlib

import numpy as np
import pytest
import real_files
from reader_checks import LABELS, pictures, read_all, refusal

from fdrl_jax.data import readers


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("joint", ["-", "."])
def test_idx_layouts(zipped, joint, tmp_path):
    images, labels = np.stack(pictures("computed", 12, 20, 28))[..., 0], LABELS.astype(np.uint8)
    real_files.write_idx(tmp_path, images, labels, zipped, joint)
    end = ".gz" if zipped else ""
    for split, prefix, order in (("train", "train", 1), ("test", "t10k", -1)):
        file = tmp_path / f"{prefix}-images{joint}idx3-ubyte{end}"
        for reader in (readers.idx(tmp_path, split), readers.idx(file), readers.idx(file, "train")):
            np.testing.assert_array_equal(read_all(reader), images[::order, ..., None])
            np.testing.assert_array_equal(reader.labels, labels[::order])
            assert reader.labels.dtype == np.int64
            assert reader.name(3) == f"{file} image 3"
    (tmp_path / f"train-labels{joint}idx1-ubyte{end}").unlink()
    assert readers.idx(tmp_path).labels is None


def test_idx_of_any_name_has_no_labels(tmp_path):
    (tmp_path / "mine.idx").write_bytes(real_files.idx_bytes(np.ones((2, 3, 4), np.uint8)))
    reader = readers.idx(tmp_path / "mine.idx")
    np.testing.assert_array_equal(read_all(reader), np.ones((2, 3, 4, 1)))
    assert reader.labels is None


def test_damaged_idx(tmp_path):
    images = np.stack(pictures())[..., 0]
    real_files.write_idx(tmp_path, images, LABELS.astype(np.uint8))
    file, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    whole, whole_labels = file.read_bytes(), labels.read_bytes()
    zipped = zlib.compress(whole, wbits=31)
    for damaged, words in (
        (b"", "is not an IDX file of images: it starts with "),
        (whole[:10], "is not an IDX file of images"),
        (whole_labels, "it starts with 00000801, not 00000803"),
        (b"\0\0\x0d\3" + whole[4:], "it starts with 00000d03"),
        (whole[:-1], f"is damaged: {len(whole) - 17} bytes after its header, which says [12, 32, 32]"),
        (whole + b"\0", "is damaged"),
        (whole[:4] + b"\xff" * 12, "is damaged"),
        (real_files.idx_bytes(images[:0]), "has no images"),
        (zipped[:-50], "cannot be read"),
        (zipped[:50] + bytes(50) + zipped[100:], "cannot be read"),
        (zipped[:-8] + bytes(8), "cannot be read"),
    ):
        file.write_bytes(damaged)
        refusal(lambda: readers.idx(tmp_path), file, words)
    file.write_bytes(whole)
    labels.write_bytes(real_files.idx_bytes(np.zeros(11, np.uint8)))
    refusal(lambda: readers.idx(tmp_path), labels, "has 11 labels for the 12 images")
    labels.write_bytes(whole)
    refusal(lambda: readers.idx(tmp_path), labels, "is not an IDX file of labels")


def test_fashion_mnist():
    train, test = (readers.idx(real_files.fashion_mnist(), split) for split in ("train", "test"))
    assert (train.images.shape, test.images.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    for reader in (train, test):
        assert (np.bincount(reader.labels) == len(reader) // 10).all()
    # Known facts of this data set: its first label, and the mean and standard deviation that its users report.
    assert train.labels[0] == 9
    assert train.images.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert train.images.std() / 255 == pytest.approx(0.3530, abs=5e-5)
