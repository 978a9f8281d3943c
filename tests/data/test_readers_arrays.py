"""Images in .npy and .npz files: which array is read, and arrays and files that are refused.

Covers: `readers.arrays`.
"""

import os
import pickle

import numpy as np
from reader_checks import LABELS, Payload, pictures, read_all, refusal

from fdrl_jax.data import readers


def test_npy_and_npz_files_of_every_layout(tmp_path):
    colour, grey = np.stack(pictures()), np.stack(pictures())[..., 0]
    np.save(tmp_path / "colour.npy", colour)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(colour))
    np.save(tmp_path / "grey.npy", grey)
    for i, key in enumerate(("images", "arr_0", "x_train", "other")):
        np.savez(tmp_path / f"{i}.npz", **{key: colour, "labels": LABELS, "x": np.ones((2, 2, 2))})
    np.savez(tmp_path / "4.npz", images=colour, arr_0=grey, x_train=grey)
    for name in ("colour.npy", "fortran.npy", *(f"{i}.npz" for i in range(5))):
        reader = readers.arrays(tmp_path / name)
        np.testing.assert_array_equal(read_all(reader), colour)
        assert reader.read(0).flags.c_contiguous
    reader = readers.arrays(tmp_path / "grey.npy")
    np.testing.assert_array_equal(read_all(reader), grey[..., None])
    assert reader.name(4) == f"{tmp_path}/grey.npy image 4"
    assert isinstance(readers.arrays(tmp_path / "colour.npy").images, np.memmap)


def test_arrays_that_are_no_images(tmp_path):
    path, uint8 = tmp_path / "x.npy", np.uint8
    for array, words in (
        (np.zeros((2, 4, 4, 3), np.float32), "has float32 [2, 4, 4, 3] and not uint8 [n, h, w]"),
        (np.zeros((2, 4, 4), np.int64), "has int64 [2, 4, 4] and not uint8"),
        (np.zeros((2, 4), uint8), "has uint8 [2, 4] and not"),
        (np.zeros((2, 3, 32, 32), uint8), "put channels last"),
        (np.zeros((2, 4, 4, 5), uint8), "change its shape"),
        (np.zeros((0, 4, 4, 3), uint8), "it is empty"),
        (np.zeros((2, 0, 4, 3), uint8), "it is empty"),
    ):
        np.save(path, array)
        refusal(lambda: readers.arrays(path), path, words)
    np.savez(tmp_path / "named.npz", images=np.zeros((2, 4, 4), np.float64), other=np.zeros((2, 4, 4), uint8))
    refusal(lambda: readers.arrays(tmp_path / "named.npz"), "has float64 [2, 4, 4]")


def test_an_archive_without_a_unique_array_of_images(tmp_path):
    path, images = tmp_path / "x.npz", np.zeros((2, 4, 4), np.uint8)
    for arrays, words in (
        (dict(a=images, b=images, c=np.zeros(3)), "has a, b: which is it? call the images' array 'images'"),
        (dict(a=np.zeros(3), b=np.array([None])), "has a, b: none is uint8 [n, h, w] or [n, h, w, c]: call"),
        ({}, "has no array"),
    ):
        np.savez(path, **arrays)
        refusal(lambda: readers.arrays(path), path, words)
    np.savez(path, pickled=np.array([None]), pictures=images)
    assert len(readers.arrays(path)) == 2


def test_damaged_and_pickled_arrays(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.stack(pictures()))
    whole = path.read_bytes()
    marker = tmp_path / "it ran"
    np.savez(tmp_path / "y.npz", images=np.stack(pictures()))
    archive = (tmp_path / "y.npz").read_bytes()
    for content in (
        b"", b"hello", whole[:-1], whole[:40], archive[:-30], archive[:500] + bytes(100) + archive[600:],
        pickle.dumps(Payload(os.system, f"touch '{marker}'")),
    ):  # fmt: skip
        path.write_bytes(content)
        refusal(lambda: readers.arrays(path), path, "cannot be read")
    np.save(path, np.array([None]), allow_pickle=True)
    refusal(lambda: readers.arrays(path), path, "cannot be read")
    np.savez(path.with_suffix(".npz"), images=np.array([None]))
    refusal(lambda: readers.arrays(path.with_suffix(".npz")), "cannot be read")
    refusal(lambda: readers.arrays(tmp_path), "is a folder")
    assert not marker.exists()
