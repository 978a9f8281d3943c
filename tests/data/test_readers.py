"""Checks of all readers: threads, names, signatures, paths that cannot be read, and files that could do harm.

Covers: `readers.base`, `readers.messages`.
"""

import gzip
import importlib
import io
import os
import random
import shutil
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import real_files
from reader_checks import LABELS, pictures, read_all, refusal

from fdrl_jax.data import readers
from fdrl_jax.data.readers.decoding import decode

# Each of these functions writes files, and returns a reader of 12 images and the name of one file that it reads.


def _cifar(folder):
    images, labels = (*pictures(), pictures()[0], pictures()[1]), [*LABELS, 0, 0]  # The last two are the test split.
    return readers.cifar10(real_files.write_files(folder, real_files.cifar_files(images, labels))), "data_batch_3"


def _celeba(folder):
    path = real_files.write_celeba(folder, pictures(height=218, width=178), [0] * 12)
    return readers.celeba(path), "img_align_celeba/000007.jpg"


def _celeba_zip(folder):
    path = real_files.write_celeba(folder, pictures(height=218, width=178), [0] * 12, zipped=True)
    return readers.celeba(path), "img_align_celeba.zip"


def _lsun(folder):
    values = [real_files.encoded(image, "WEBP", quality=90) for image in pictures(height=64, width=85)]
    return readers.lsun(real_files.write_lsun(folder, values)), "data.mdb"


def _folder(folder):
    files = {f"{i % 3}/{i}.png": real_files.encoded(image, "PNG") for i, image in enumerate(pictures())}
    return readers.folder(real_files.write_files(folder, files)), "1/4.png"


def _idx(folder):
    grey = np.stack(pictures())[..., 0]
    return readers.idx(real_files.write_idx(folder, grey, LABELS.astype(np.uint8))), "train-labels-idx1-ubyte"


def _arrays(folder):
    folder.mkdir()
    np.save(folder / "images.npy", np.stack(pictures()))
    return readers.arrays(folder / "images.npy"), "images.npy"


ALL = [_cifar, _celeba, _celeba_zip, _lsun, _folder, _idx, _arrays]
each_reader = pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__[1:])


@each_reader
def test_several_threads_read_the_same_images_as_one(make, tmp_path):
    reader, _ = make(tmp_path / "data")
    assert len(reader) == 12
    alone = read_all(reader)
    assert len({image.tobytes() for image in alone}) == 12
    order = random.Random(0).choices(range(12), k=600)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: np.asarray(reader.read(i)), order))
    for index, image in zip(order, together, strict=True):
        np.testing.assert_array_equal(image, alone[index])


@each_reader
def test_each_image_has_a_name_of_its_own(make, tmp_path):
    reader, _ = make(tmp_path / "data")
    names = [reader.name(i) for i in range(len(reader))]
    assert len(set(names)) == 12
    assert all("\n" not in name for name in names)


@each_reader
def test_signature_changes_when_a_file_does(make, tmp_path):
    reader, file = make(tmp_path / "data")
    before = reader.signature()
    del reader
    again = reopen(make, tmp_path / "data")
    assert again.signature() == before
    del again
    path = tmp_path / "data" / file
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    touched = reopen(make, tmp_path / "data").signature()
    assert touched != before
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert reopen(make, tmp_path / "data").signature() == before
    moved = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "data", moved)  # This also copies the modification times.
    assert reopen(make, moved).signature() == before


def reopen(make, folder):
    open_reader = {
        "_cifar": readers.cifar10,
        "_celeba": readers.celeba,
        "_celeba_zip": readers.celeba,
        "_lsun": readers.lsun,
        "_folder": readers.folder,
        "_idx": readers.idx,
        "_arrays": lambda path: readers.arrays(path / "images.npy"),
    }[make.__name__]
    return open_reader(folder)


@pytest.mark.parametrize("make", [readers.cifar10, readers.celeba, readers.idx])
def test_split_and_path_are_checked(make, tmp_path):
    refusal(lambda: make(tmp_path, "training"), "config.data.split = 'training' must be one of train, ", "test")
    for split in ("train", "test"):
        refusal(lambda split=split: make(tmp_path, split), tmp_path, "config.data.path must be", "https://")


@pytest.mark.parametrize(
    "make", [getattr(readers, n) for n in ("cifar10", "celeba", "idx", "lsun", "folder", "arrays")]
)
def test_a_path_that_does_not_exist(make, tmp_path):
    missing = tmp_path / "no such"
    refusal(
        lambda: make(missing), missing, "No such file", "config.data.path must be a" if make != readers.cifar10 else ""
    )
    refusal(lambda: make(str(missing)), missing)


def test_a_path_that_may_not_be_read(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append((path, mode)))  # root may read any file.
    refusal(lambda: readers.folder(tmp_path), f"{tmp_path} may not be read by this user")
    (tmp_path / "x.npy").touch()
    refusal(lambda: readers.arrays(tmp_path / "x.npy"), "x.npy may not be read by this user")
    assert asked == [(tmp_path, os.R_OK | os.X_OK), (tmp_path / "x.npy", os.R_OK)]


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    _folder(tmp_path / "pictures")
    assert len(readers.folder("~/pictures")) == 12


def test_grey_jpegs_of_celeba_and_lsun_become_rgb(tmp_path):
    grey = real_files.encoded(pictures()[0][..., :1], "JPEG")
    assert decode(grey).mode == "L"
    path = real_files.write_celeba(tmp_path / "celeba", pictures("computed", 1), [0])
    (path / "img_align_celeba" / "000001.jpg").write_bytes(grey)
    for reader in (readers.celeba(path), readers.lsun(real_files.write_lsun(tmp_path / "lsun", [grey]))):
        image = reader.read(0)
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), np.repeat(np.asarray(decode(grey))[..., None], 3, axis=2))


def test_links_out_of_other_folders_are_refused(tmp_path):
    files = real_files.cifar_files(pictures(), LABELS)
    cifar = real_files.write_files(tmp_path / "cifar", files)
    (cifar / "data_batch_3").rename(tmp_path / "data_batch_3")
    (cifar / "data_batch_3").symlink_to("../data_batch_3")
    refusal(lambda: readers.cifar10(cifar), cifar / "data_batch_3", "is a link to", "copy the file")
    celeba = real_files.write_celeba(tmp_path / "celeba", pictures(), [0] * 12)
    photograph = next((celeba / "img_align_celeba").iterdir())
    photograph.rename(tmp_path / photograph.name)
    photograph.symlink_to(tmp_path / photograph.name)
    refusal(lambda: readers.celeba(celeba), photograph, "is a link to", "copy the file")
    idx = tmp_path / "idx"
    real_files.write_idx(idx, np.zeros((3, 4, 4), np.uint8), np.zeros(3, np.uint8))
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (idx / name).rename(tmp_path / name)
        (idx / name).symlink_to(tmp_path / name)
        refusal(lambda: readers.idx(idx), idx / name, "is a link to", "copy the file")
        (idx / name).unlink()
        (tmp_path / name).rename(idx / name)


@pytest.mark.parametrize("name", ["../data_batch_1", "/data_batch_1", "a/../../data_batch_1"])
def test_members_outside_of_the_archives_folder_are_refused(name, tmp_path):
    files = real_files.cifar_files(pictures(), LABELS)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        for member, data in ({**files, name: files["data_batch_1"]}).items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    refusal(lambda: readers.cifar10(tmp_path / "x.tar.gz"), "x.tar.gz", repr(name), "leads out of a folder")
    folder = real_files.write_celeba(tmp_path / "celeba", pictures(), [0] * 12, zipped=True)
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "a") as archive:
        archive.writestr(name, b"x")
    refusal(lambda: readers.celeba(folder), "img_align_celeba.zip", repr(name), "leads out of a folder")


def test_files_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    for module in ("cifar", "idx"):
        monkeypatch.setattr(importlib.import_module(f"fdrl_jax.data.readers.{module}"), "MAX_UNPACKED", 50_000)
    archive = real_files.write_tar(tmp_path / "x.tar.gz", {"zeros": bytes(2**20)}, "cifar-10-batches-py")
    refusal(lambda: readers.cifar10(archive), archive, "unpacks to more than 50,000 bytes")
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + bytes(2**20)))
    refusal(lambda: readers.idx(tmp_path / "x.gz"), "x.gz", "unpacks to more than 50,000 bytes")
    zeros = np.broadcast_to(np.zeros((), np.uint8), (2**18, 32, 32, 1))  # 256 MiB, which compress to 256 KiB.
    np.savez_compressed(tmp_path / "x.npz", images=np.concatenate([zeros, zeros[:1]]))
    refusal(lambda: readers.arrays(tmp_path / "x.npz"), "x.npz", "would unpack to", "more than 100 times as many")
