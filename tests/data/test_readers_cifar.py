"""CIFAR-10 in all its versions, and damaged, incomplete or malicious files of it.

Covers: `readers.cifar`.
"""

import io
import os
import pathlib
import pickle
import tarfile

import numpy as np
import pytest
import real_files
from reader_checks import KINDS, LABELS, Payload, pictures, read_all, refusal

from fdrl_jax.data import readers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("binary", [False, True], ids=["python", "binary"])
def test_cifar_in_all_its_layouts(kind, binary, tmp_path):
    images = pictures(kind)
    files, version = real_files.cifar_files(images, LABELS, binary), "bin" if binary else "py"
    archive = f"cifar-10-{'binary' if binary else 'python'}.tar.gz"
    places = [
        real_files.write_tar(tmp_path / archive, files, f"cifar-10-batches-{version}"),
        tmp_path,
        real_files.write_files(tmp_path / "unpacked" / f"cifar-10-batches-{version}", files),
        tmp_path / "unpacked",
    ]
    for place in places:
        train, test = readers.cifar10(place), readers.cifar10(place, "test")
        assert (len(train), len(test)) == (10, 2)
        np.testing.assert_array_equal(read_all(train), images[:10])
        np.testing.assert_array_equal(read_all(test), images[10:])
        for reader, labels in ((train, LABELS[:10]), (test, LABELS[10:])):
            assert reader.labels.dtype == np.int64
            np.testing.assert_array_equal(reader.labels, labels)
        assert [train.name(i) for i in (0, 1, 2, 9)] == [
            "data_batch_1 row 0", "data_batch_1 row 1", "data_batch_2 row 0", "data_batch_5 row 1",
        ]  # fmt: skip
        assert test.name(1) == "test_batch row 1"
        assert train.signature() != test.signature()


def test_the_written_batches_are_what_python_2_wrote():
    # The first bytes of the real data_batch_1: protocol 2, a dict, and 'batch_label' as a Python 2 string.
    batch = real_files.cifar_files(pictures(), LABELS)["data_batch_1"]
    assert batch.startswith(b"\x80\x02}q\x00(U\x0bbatch_label")
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in batch
    assert b"_codecs" not in batch


@pytest.mark.parametrize("protocol", [2, 4])
def test_cifar_pickled_again_by_python_3(protocol, tmp_path):
    files = {}
    for name, data in real_files.cifar_files(pictures(), LABELS).items():
        batch = pickle.loads(data, encoding="bytes")
        if protocol == 4:
            batch = {key.decode(): np.array(v) if key == b"labels" else v for key, v in batch.items()}
        files[name] = pickle.dumps(batch, protocol)
    assert protocol == 4 or b"_codecs" in files["data_batch_1"]
    reader = readers.cifar10(real_files.write_files(tmp_path, files))
    np.testing.assert_array_equal(read_all(reader), pictures()[:10])
    np.testing.assert_array_equal(reader.labels, LABELS[:10])


def test_cifar_with_a_file_missing(tmp_path):
    files = real_files.cifar_files(pictures(), LABELS)
    del files["data_batch_2"], files["data_batch_4"]
    archive = real_files.write_tar(tmp_path / "part.tar.gz", files, "cifar-10-batches-py")
    folder = real_files.write_files(tmp_path / "part", files)
    for place in (archive, folder):
        refusal(lambda place=place: readers.cifar10(place), place, "has no data_batch_2, data_batch_4", "https://")
        assert len(readers.cifar10(place, "test")) == 2
    empty = real_files.write_tar(tmp_path / "other.tar.gz", {"train": b"cifar-100"}, "cifar-100-python")
    refusal(lambda: readers.cifar10(empty), empty, "has no data_batch_1")


@pytest.mark.parametrize(
    ("function", "argument"),
    [(os.system, "touch {}"), (eval, "open('{}', 'w')"), (pathlib.Path, "{}"), (np.fromfile, "{}"), (getattr, "{}")],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_pickle_that_could_run_code_is_refused(function, argument, tmp_path):
    marker = tmp_path / "it ran"
    files = real_files.cifar_files(pictures(), LABELS)
    malicious = {b"data": Payload(function, argument.format(marker)), b"labels": []}
    files["data_batch_4"] = pickle.dumps(malicious, 2)
    folder = real_files.write_files(tmp_path / "data", files)
    # Protocol 2 writes the names that these functions had in Python 2.
    name = {"system": "posix.system", "eval": "__builtin__.eval", "getattr": "__builtin__.getattr"}
    refusal(
        lambda: readers.cifar10(folder),
        "data_batch_4",
        name.get(function.__name__, function.__name__),
        "never code",
    )
    assert not marker.exists()


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ({b"data": np.zeros((2, 3072), np.float32), b"labels": [0, 1]}, "data float32 [2, 3072]"),
        ({b"data": np.zeros((2, 3073), np.uint8), b"labels": [0, 1]}, "data uint8 [2, 3073]"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}, "labels [1]"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10]}, "labels of 0 to 10"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"fine_labels": [0, 1]}, "KeyError: 'labels'"),
        ([1, 2], "AttributeError"),
    ],
)
def test_cifar_batches_of_another_shape(batch, words, tmp_path):
    files = real_files.cifar_files(pictures(), LABELS) | {"data_batch_5": real_files.python2_pickle(batch)}
    folder = real_files.write_files(tmp_path, files)
    refusal(lambda: readers.cifar10(folder), f"{folder}: data_batch_5", words)


def test_damaged_cifar(tmp_path):
    files = real_files.cifar_files(pictures(), LABELS)
    whole = files["data_batch_1"]
    for damaged in (b"", whole[:-100], b"<html>not found</html>"):
        folder = real_files.write_files(tmp_path / "py", files | {"data_batch_1": damaged})
        refusal(lambda folder=folder: readers.cifar10(folder), "data_batch_1 cannot be read", "https://")
    binary = real_files.cifar_files(pictures(), LABELS, binary=True)
    folder = real_files.write_files(tmp_path / "bin", binary | {"data_batch_1.bin": binary["data_batch_1.bin"][:-1]})
    refusal(lambda: readers.cifar10(folder), "data_batch_1.bin has 6145 bytes, not a multiple of 3073")
    archive = real_files.write_tar(tmp_path / "cut.tar.gz", files, "cifar-10-batches-py")
    data = archive.read_bytes()
    for damaged in (data[:-2000], data[: len(data) // 2], data[:-8] + bytes(8), b"<html>not found</html>", b""):
        archive.write_bytes(damaged)
        refusal(lambda: readers.cifar10(archive), archive, "https://")


def test_links_in_archives_are_refused(tmp_path):
    files = real_files.cifar_files(pictures(), LABELS)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
            for member, data in files.items():
                info = tarfile.TarInfo(f"cifar-10-batches-py/{member}")
                info.size = len(data)
                if member == "data_batch_2":
                    info.type, info.linkname, info.size = kind, "cifar-10-batches-py/data_batch_1", 0
                archive.addfile(info, io.BytesIO(data))
        refusal(lambda: readers.cifar10(tmp_path / "x.tar.gz"), "data_batch_2", "is no file but a link or the like")
