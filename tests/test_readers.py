"""Readers: the formats' own layouts written and read back, real files, damage, and many threads at once."""

import gzip
import importlib
import io
import os
import pathlib
import pickle
import random
import shutil
import struct
import sys
import tarfile
import types
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import lmdb
import numpy as np
import pytest
import real_files
from PIL import Image

from fdrl_jax.data import readers
from fdrl_jax.data.readers.base import decode
from fdrl_jax.data.transform import ImageError, Transform
from fdrl_jax.types import InputError

KINDS = ["computed", "emoji"]
LABELS = np.arange(12) % 10


def pictures(kind="computed", count=12, height=32, width=32):
    return real_files.colour_pictures(kind, count, height, width)


def read_all(reader):
    return [np.asarray(reader.read(i)) for i in range(len(reader))]


def refusal(call, *words):
    """The message of the InputError that `call` raises: one line with all of `words`."""
    with pytest.raises(InputError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert str(word) in message, message
    return message


# --- one of each, to see what all have in common ---


def _cifar(folder):
    images, labels = (*pictures(), pictures()[0], pictures()[1]), [*LABELS, 0, 0]  # Two more, for the test split.
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
def test_threads_read_what_one_does(make, tmp_path):
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
def test_names_tell_images_apart(make, tmp_path):
    reader, _ = make(tmp_path / "data")
    names = [reader.name(i) for i in range(len(reader))]
    assert len(set(names)) == 12
    assert all("\n" not in name for name in names)


@each_reader
def test_signature_changes_when_a_file_does(make, tmp_path):
    reader, file = make(tmp_path / "data")
    before = reader.signature()
    del reader
    again = make_again(make, tmp_path / "data")
    assert again.signature() == before
    del again
    path = tmp_path / "data" / file
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    touched = make_again(make, tmp_path / "data").signature()
    assert touched != before
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert make_again(make, tmp_path / "data").signature() == before
    moved = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "data", moved)  # With the files' times.
    assert make_again(make, moved).signature() == before


def make_again(make, folder):
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
def test_no_such_path(make, tmp_path):
    missing = tmp_path / "no such"
    refusal(
        lambda: make(missing), missing, "No such file", "config.data.path must be a" if make != readers.cifar10 else ""
    )
    refusal(lambda: make(str(missing)), missing)


def test_a_path_that_may_not_be_read(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append((path, mode)))  # Nothing is forbidden to root
    refusal(lambda: readers.folder(tmp_path), f"{tmp_path} may not be read by this user")
    (tmp_path / "x.npy").touch()
    refusal(lambda: readers.arrays(tmp_path / "x.npy"), "x.npy may not be read by this user")
    assert asked == [(tmp_path, os.R_OK | os.X_OK), (tmp_path / "x.npy", os.R_OK)]


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    _folder(tmp_path / "pictures")
    assert len(readers.folder("~/pictures")) == 12


# --- CIFAR-10 ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("binary", [False, True], ids=["python", "binary"])
def test_cifar_in_all_its_places(kind, binary, tmp_path):
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


class Payload:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


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
    # By the name that Python 2 had for it, which is what protocol 2 writes.
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


# --- CelebA ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_celeba_splits(kind, zipped, tmp_path):
    images, splits = pictures(kind, 9, 218, 178), [0, 1, 2, 0, 0, 1, 2, 2, 0]
    path = real_files.write_celeba(tmp_path, images, splits, zipped)
    files, _ = real_files.celeba_files(images, splits)
    signatures = set()
    for number, split in enumerate(("train", "valid", "test")):
        reader = readers.celeba(path, split)
        wanted = [name for name, s in zip(files, splits, strict=True) if s == number]
        assert [reader.name(i)[-10:] for i in range(len(reader))] == wanted
        place = "img_align_celeba.zip: " if zipped else "img_align_celeba/"
        assert reader.name(0) == f"{path}/{place}{wanted[0]}"
        for name, image in zip(wanted, read_all(reader), strict=True):
            assert image.shape == (218, 178, 3)
            np.testing.assert_array_equal(image, np.asarray(decode(files[name])))
            assert np.abs(image.astype(int) - images[int(name[:6]) - 1]).mean() < 12  # JPEG.
        assert reader.labels is None
        signatures.add(reader.signature())
    assert len(signatures) == 3


def test_celeba_as_others_store_it(tmp_path):
    images = pictures("computed", 3, 218, 178)
    plain = real_files.write_celeba(tmp_path / "plain", images, [0, 0, 2])
    expected = read_all(readers.celeba(plain))
    kaggle = tmp_path / "kaggle"
    shutil.copytree(plain / "img_align_celeba", kaggle / "img_align_celeba" / "img_align_celeba")
    table = (plain / "list_eval_partition.txt").read_text().replace(" ", ",")
    (kaggle / "list_eval_partition.csv").write_text("image_id,partition\n" + table)
    download = tmp_path / "download"
    real_files.write_celeba(download / "Img", images, [0, 0, 2], zipped=True)
    (download / "Eval").mkdir()
    (download / "Img" / "list_eval_partition.txt").rename(download / "Eval" / "list_eval_partition.txt")
    torchvision = tmp_path / "torchvision"
    shutil.copytree(plain, torchvision / "celeba")
    for place in (kaggle, download, torchvision):
        np.testing.assert_array_equal(read_all(readers.celeba(place)), expected)


def test_grey_jpegs_of_celeba_and_lsun_become_rgb(tmp_path):
    grey = real_files.encoded(pictures()[0][..., :1], "JPEG")
    assert decode(grey).mode == "L"
    path = real_files.write_celeba(tmp_path / "celeba", pictures("computed", 1), [0])
    (path / "img_align_celeba" / "000001.jpg").write_bytes(grey)
    for reader in (readers.celeba(path), readers.lsun(real_files.write_lsun(tmp_path / "lsun", [grey]))):
        image = reader.read(0)
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), np.repeat(np.asarray(decode(grey))[..., None], 3, axis=2))


@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_celeba_with_something_missing(zipped, tmp_path):
    path = real_files.write_celeba(tmp_path, pictures("computed", 3, 20, 20), [0, 0, 1], zipped)
    partition = path / "list_eval_partition.txt"
    text = partition.read_text()
    partition.write_text(text + "000004.jpg 0\n000005.jpg 0\n000006.jpg 2\n")
    refusal(lambda: readers.celeba(path), "has no 000004.jpg, which list_eval_partition.txt lists (2 of its 4 images")
    assert len(readers.celeba(path, "valid")) == 1
    for line in ("000004.jpg", "000004.jpg 3", "000004.jpg train", "a b c"):
        partition.write_text(text + line)
        refusal(lambda: readers.celeba(path), f"{partition} line 4 is '{line}'", "https://")
    partition.write_text(text)
    refusal(lambda: readers.celeba(path, "test"), partition, "lists no image of split 'test' (2)")
    partition.write_bytes(b"\xff\xfe\x00")
    refusal(lambda: readers.celeba(path), partition, "cannot be read")
    partition.unlink()
    refusal(lambda: readers.celeba(path), f"{path} has no list_eval_partition.txt", "https://")
    refusal(
        lambda: readers.celeba(tmp_path / "img_align_celeba"), "img_align_celeba", "config.data.path must be a folder"
    )


def test_damaged_celeba(tmp_path):
    path = real_files.write_celeba(tmp_path, pictures("computed", 3, 64, 64), [0, 0, 0], zipped=True)
    archive = path / "img_align_celeba.zip"
    whole = archive.read_bytes()
    for damaged in (b"", b"<html>", whole[:-100]):
        archive.write_bytes(damaged)
        refusal(lambda: readers.celeba(path), archive, "is not a zip archive, or damaged")
    archive.write_bytes(whole)
    with zipfile.ZipFile(archive) as opened:
        info = opened.getinfo("img_align_celeba/000002.jpg")
    start = info.header_offset + 100
    archive.write_bytes(whole[:start] + bytes(200) + whole[start + 200 :])
    reader = readers.celeba(path)
    with pytest.raises(ImageError, match="cannot be read"):
        reader.read(1)
    assert reader.read(0).size == reader.read(2).size == (64, 64)
    folder = real_files.write_celeba(tmp_path / "folder", pictures("computed", 2, 64, 64), [0, 0])
    reader = readers.celeba(folder)
    (folder / "img_align_celeba" / "000002.jpg").unlink()
    with pytest.raises(ImageError, match=r"cannot be read \(.*No such file"):
        reader.read(1)


# --- LSUN ---


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


def test_lsun_may_be_opened_twice_and_leaves_no_trace(tmp_path):
    folder = real_files.write_lsun(tmp_path / "a lmdb", [real_files.encoded(pictures()[0], "PNG")])
    (folder / "lock.mdb").unlink()
    (tmp_path / "link").symlink_to(folder)
    first, second = readers.lsun(folder), readers.lsun(tmp_path / "link")
    np.testing.assert_array_equal(np.asarray(first.read(0)), np.asarray(second.read(0)))
    assert os.listdir(folder) == ["data.mdb"]
    del first, second
    with lmdb.open(str(folder)) as environment:  # Which LMDB refuses to a process that has it open.
        assert environment.stat()["entries"] == 1


def test_lsun_reads_beyond_lmdbs_usual_size(tmp_path):
    # 10 MiB, where the file does not say otherwise.
    noise = np.random.default_rng(0).integers(0, 256, (13, 600, 600, 3), dtype=np.uint8)
    folder = real_files.write_lsun(tmp_path / "large", [real_files.encoded(image, "PNG") for image in noise])
    assert (folder / "data.mdb").stat().st_size > 12e6
    assert {image.tobytes() for image in read_all(readers.lsun(folder))} == {image.tobytes() for image in noise}


def test_lsun_that_is_none(tmp_path):
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


def test_lsun_that_is_cut_off(tmp_path):
    # Reading beyond its end would kill the process.
    values = [real_files.encoded(image, "PNG") for image in pictures(height=100, width=100)]
    file = real_files.write_lsun(tmp_path / "cut", values) / "data.mdb"
    whole = file.read_bytes()
    for size in (4096, 8192, len(whole) // 2, len(whole) - 4096, len(whole) - 1):
        file.write_bytes(whole[:size])
        refusal(lambda: readers.lsun(file.parent), file, "is not an LMDB, or damaged")
    file.write_bytes(whole)
    assert len(readers.lsun(file.parent)) == 12


# --- folders ---


def test_folder_reads_what_it_should_in_order(tmp_path):
    images = pictures()
    names = [
        "b.PNG",
        "a/z.jpeg",
        "a/B.jpg",
        "a/deep/er/c.WebP",
        "a b.png",  # Before what is in a/, whose slash is a later character.
        "\u00fcnic\u00f6de \u732b.png",
        "Z.jpg",
    ]
    kinds = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}
    files = {
        name: real_files.encoded(image, kinds[name.rsplit(".")[-1].lower()])
        for name, image in zip(names, images, strict=False)
    }
    ignored = {
        "notes.txt": b"",
        "a/x.gif": b"",
        ".hidden.png": b"",
        "__MACOSX/._b.png": b"",
        ".git/x.png": b"",
        "png": b"",
    }
    reader = readers.folder(real_files.write_files(tmp_path, files | ignored))
    assert [reader.name(i) for i in range(len(reader))] == [f"{tmp_path}/{name}" for name in sorted(names)]
    for name, image in zip(sorted(names), read_all(reader), strict=True):
        np.testing.assert_array_equal(image, np.asarray(decode(files[name])))
    assert reader.labels is None


def test_folder_does_not_depend_on_the_order_of_creation(tmp_path):
    data = real_files.encoded(pictures()[0], "PNG")
    names = [f"{i // 10}/{i}.png" for i in range(100)]
    shuffled = random.Random(0).sample(names, 100)
    for folder, order in (("one", names), ("other", shuffled)):
        real_files.write_files(tmp_path / folder, dict.fromkeys(order, data))
        for name in names:
            os.utime(tmp_path / folder / name, ns=(0, 0))
    one, other = readers.folder(tmp_path / "one"), readers.folder(tmp_path / "other")
    assert one.signature() == other.signature()
    assert [one.name(i)[-6:] for i in range(100)] == [other.name(i)[-6:] for i in range(100)]


def test_folder_signature_sees_names_and_sizes(tmp_path):
    data = real_files.encoded(pictures()[0], "PNG")

    def signature():
        for path in tmp_path.rglob("*.png"):
            os.utime(path, ns=(0, 0))
        return readers.folder(tmp_path).signature()

    real_files.write_files(tmp_path, {"a.png": data, "b.png": data})
    seen = [signature()]
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    seen.append(signature())
    (tmp_path / "c.png").write_bytes(data + b"\0")
    seen.append(signature())
    (tmp_path / "d.png").write_bytes(data)
    seen.append(signature())
    assert len(set(seen)) == 4
    (tmp_path / "notes.txt").touch()
    assert signature() == seen[-1]


def test_folder_follows_links_within_but_not_in_circles(tmp_path):
    data = real_files.encoded(pictures()[0], "PNG")
    root = real_files.write_files(tmp_path / "root", {"a/near.png": data, "b/far.png": data})
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to(".")
    (root / "c again").symlink_to(root / "b")
    (root / "file.png").symlink_to(root / "b" / "far.png")
    (tmp_path / "start").symlink_to(root)
    for start in (root, tmp_path / "start"):
        reader = readers.folder(start)
        assert [reader.name(i)[len(str(start)) + 1 :] for i in range(len(reader))] == [
            "a/near.png", "b/far.png", "file.png",
        ]  # fmt: skip


@pytest.mark.parametrize("what", ["file", "folder", "up", "pipe"])
def test_links_out_of_a_folder_are_refused(what, tmp_path):
    data = real_files.encoded(pictures()[0], "PNG")
    real_files.write_files(tmp_path / "elsewhere", {"far.png": data})
    root = real_files.write_files(tmp_path / "root", {"near.png": data})
    match what:
        case "file":
            (root / "x.png").symlink_to("../elsewhere/far.png")
        case "folder":
            (root / "x").symlink_to(tmp_path / "elsewhere")
        case "up":
            (root / "x").symlink_to("..")
        case "pipe":
            os.mkfifo(root / "x.png")
    words = "is no regular file: remove it" if what == "pipe" else "is a link to"
    refusal(lambda: readers.folder(root), root / "x", words)


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
def test_members_that_escape_are_refused(name, tmp_path):
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


def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    for module in ("cifar", "idx"):
        monkeypatch.setattr(importlib.import_module(f"fdrl_jax.data.readers.{module}"), "MAX_UNPACKED", 50_000)
    archive = real_files.write_tar(tmp_path / "x.tar.gz", {"zeros": bytes(2**20)}, "cifar-10-batches-py")
    refusal(lambda: readers.cifar10(archive), archive, "unpacks to more than 50,000 bytes")
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + bytes(2**20)))
    refusal(lambda: readers.idx(tmp_path / "x.gz"), "x.gz", "unpacks to more than 50,000 bytes")
    zeros = np.broadcast_to(np.zeros((), np.uint8), (2**18, 32, 32, 1))  # 256 MiB in 256 KiB.
    np.savez_compressed(tmp_path / "x.npz", images=np.concatenate([zeros, zeros[:1]]))
    refusal(lambda: readers.arrays(tmp_path / "x.npz"), "x.npz", "would unpack to", "more than 100 times as many")


def test_folders_without_images(tmp_path):
    (tmp_path / "x.bmp").touch()
    refusal(lambda: readers.folder(tmp_path), tmp_path, "has no image in it: looked for .png, .jpg, .jpeg, .webp")
    refusal(lambda: readers.folder(tmp_path / "x.bmp"), "x.bmp is a file")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    refusal(lambda: readers.folder(tmp_path), f"{tmp_path}/gone.png cannot be read (No such file")


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root, as in a container, may read everything
    refusal(lambda: readers.folder(tmp_path), f"{tmp_path}/closed cannot be read (Permission denied)")


def test_names_that_cannot_be_printed(tmp_path):
    data = real_files.encoded(pictures()[0], "PNG")
    (tmp_path / "line\nbreak.png").write_bytes(data)
    with open(os.fsencode(tmp_path) + b"/not utf-8 \xff.png", "wb") as file:
        file.write(data)
    reader = readers.folder(tmp_path)
    names = [reader.name(i) for i in range(2)]
    assert [name.encode().decode() for name in names] == [
        f"{tmp_path}/line\\nbreak.png",
        f"{tmp_path}/not utf-8 \\udcff.png",
    ]
    np.testing.assert_array_equal(read_all(reader), [pictures()[0]] * 2)
    assert reader.signature()


# --- decoding ---


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_no_cut_off_image_is_taken(kind):
    image = pictures("computed", 1, 48, 48)[0]
    data = real_files.encoded(image, kind)
    expected = np.asarray(decode(data))
    for size in range(len(data)):
        try:
            made = np.asarray(decode(data[:size]))
        except ImageError:
            continue
        np.testing.assert_array_equal(made, expected)  # Without the end's marker, say.
        assert size > len(data) - 24


def test_a_flipped_bit_of_a_png_is_noticed():
    rgba = np.dstack([pictures("computed", 1, 24, 24)[0], pictures("computed", 2, 24, 24)[1][..., 0]])
    data = real_files.encoded(rgba, "PNG")
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        try:
            made = np.asarray(decode(bytes(damaged)))
        except ImageError:
            continue
        np.testing.assert_array_equal(made, rgba)  # In what has no effect on the picture.


def test_damaged_files_raise_and_say_so(tmp_path):
    image = pictures("computed", 1, 48, 48)[0]
    png, jpeg = real_files.encoded(image, "PNG"), real_files.encoded(image, "JPEG")
    files = {
        "empty.png": (b"", "is not a PNG, JPEG or WebP image"),
        "text.png": (b"hello, world", "is not a PNG, JPEG or WebP image .*b'hello, w'"),
        "gif.png": (real_files.encoded(image, "GIF"), "is not a PNG, JPEG or WebP image .*b'GIF8"),
        "garbage.png": (png[:60] + np.random.default_rng(0).bytes(200) + png[260:], "is damaged"),
        "headless.jpg": (jpeg[:30] + bytes(400) + jpeg[430:], "is damaged"),
        "half.png": (png[: len(png) // 2], "is damaged"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "is damaged"),
        "right.png": (png, None),
        "jpeg.png": (jpeg, None),  # By content, not by name.
    }
    reader = readers.folder(real_files.write_files(tmp_path, {name: data for name, (data, _) in files.items()}))
    for index, name in enumerate(sorted(files)):
        assert reader.name(index) == f"{tmp_path}/{name}"
        if files[name][1] is None:
            assert reader.read(index).size == (48, 48)
        else:
            with pytest.raises(ImageError, match=f"^{files[name][1]}") as error:
                reader.read(index)
            assert "\n" not in str(error.value)


def huge_png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_decompression_bombs_are_refused_with_their_size():
    for width, height in ((30000, 20000), (12000, 9000), (89478486, 1)):  # Pillow raises at the first, warns of others
        with pytest.raises(ImageError, match=rf"^is {height}x{width} \(height x width\), more than 89478485 pixels"):
            decode(huge_png(width, height))


def test_webp_animations_and_png_animations_give_their_first_picture():
    frames = [Image.fromarray(image) for image in pictures("computed", 3)]
    for kind, options in (("WEBP", {"lossless": True}), ("PNG", {})):
        data = real_files.encoded(pictures("computed", 1)[0], kind, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(np.asarray(decode(data).convert("RGB")), pictures("computed", 1)[0])


@pytest.mark.parametrize("vendor", ["google", "twitter"])
def test_all_emoji(vendor):
    reader = readers.folder(real_files.emoji(vendor))
    assert len(reader) == 3786
    transform = Transform.parse("rgb", 64, 3)
    for index in range(0, 3786, 10):
        made = transform(reader.read(index))
        assert made.shape == (64, 64, 3)
        theirs = Image.open(reader.name(index)).convert("RGBA")
        white = Image.alpha_composite(Image.new("RGBA", (64, 64), "white"), theirs)
        assert np.abs(made.astype(int) - np.asarray(white)[..., :3]).max() <= 1


# --- IDX ---


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
    # Known of this data set: its first label, and mean and standard deviation as its users print them.
    assert train.labels[0] == 9
    assert train.images.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert train.images.std() / 255 == pytest.approx(0.3530, abs=5e-5)


# --- arrays ---


def test_arrays_in_their_files(tmp_path):
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


def test_an_archive_of_arrays_that_does_not_say_which(tmp_path):
    path, images = tmp_path / "x.npz", np.zeros((2, 4, 4), np.uint8)
    for found, words in (
        (dict(a=images, b=images, c=np.zeros(3)), "has a, b: which is it? call the images' array 'images'"),
        (dict(a=np.zeros(3), b=np.array([None])), "has a, b: none is uint8 [n, h, w] or [n, h, w, c]: call"),
        ({}, "has no array"),
    ):
        np.savez(path, **found)
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


# --- TensorFlow Datasets ---


def fake_tfds(monkeypatch, folder, images, features=("image", "label")):
    """A tensorflow_datasets with one data set, as much of it as the reader uses."""

    class Builder:
        data_dir = str(folder)
        info = types.SimpleNamespace(features=dict.fromkeys(features))

        def as_data_source(self, split):
            if split != "train":
                raise ValueError(f"Unknown split {split!r}.\nShould be one of ['train'].")
            return [{"image": image, "label": 0} for image in images]

    def builder(name):
        if name != "mnist":
            raise LookupError(f"Dataset {name} not found.\nAvailable datasets:\n- mnist")
        return Builder()

    module = types.ModuleType("tensorflow_datasets")
    module.builder = builder
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)


def test_tfds(monkeypatch, tmp_path):
    (tmp_path / "mnist-train.array_record-00000-of-00001").write_bytes(b"x")
    fake_tfds(monkeypatch, tmp_path, [*pictures(), np.zeros((4, 4, 1), np.float32)])
    reader = readers.tfds("mnist")
    assert len(reader) == 13
    assert reader.labels is None
    assert reader.name(3) == "mnist train example 3"
    np.testing.assert_array_equal([reader.read(i) for i in range(12)], pictures())
    with pytest.raises(ImageError, match="has float32 pixels: only uint8"):
        reader.read(12)
    before = reader.signature()
    assert readers.tfds("mnist").signature() == before
    os.utime(tmp_path / "mnist-train.array_record-00000-of-00001", ns=(0, 0))
    assert readers.tfds("mnist").signature() != before


def test_tfds_that_cannot_be_read(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    refusal(lambda: readers.tfds("mnist"), "config.data.name = 'tfds' needs", "pip install 'fdrl_jax[tfds]'")
    fake_tfds(monkeypatch, tmp_path, pictures())
    refusal(
        lambda: readers.tfds("minst"),
        "'minst'",
        "(Dataset minst not found.)",
        "tfds build minst --file_format=array_record",
    )
    refusal(lambda: readers.tfds("mnist", "valid"), "split 'valid'", "(Unknown split 'valid'.)")
    fake_tfds(monkeypatch, tmp_path, [], features=("text", "label"))
    refusal(lambda: readers.tfds("mnist"), "has text, label and no 'image'")
