"""CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html), the Python version or the binary one."""

import codecs
import io
import os
import pathlib
import pickle
import tarfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from fdrl_jax.data.readers.base import ArrayReader, choose_split, existing, one_line, signature
from fdrl_jax.types import InputError

_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
_PLACES = ("cifar-10-batches-py", "cifar-10-batches-bin", "", "cifar-10-python.tar.gz", "cifar-10-binary.tar.gz")
_AGAIN = "get cifar-10-python.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html"
_WANTED = f"cifar-10-python.tar.gz, or a folder with it or with cifar-10-batches-py: {_AGAIN}"

# 1024 bytes each of red, green and blue, row by row; before them in the binary version, one byte of label.
_PIXELS = 3 * 32 * 32

_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]

# All that a pickled dict of arrays and lists needs. Any other global could run code that whoever made the file chose.
_GLOBALS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,  # How Python 3 writes bytes in protocol 2.
}


def cifar10(path: str | os.PathLike[str], split: str = "train") -> ArrayReader:
    """The images [n, 32, 32, 3] and labels of CIFAR-10, in the files' order.

    Args:
      path: cifar-10-python.tar.gz, cifar-10-batches-py, or a folder with one of them; or the binary version's
        cifar-10-binary.tar.gz or cifar-10-batches-bin.
      split: "train" or "test".

    Raises:
      InputError: no such files, or one is missing, damaged or a pickle that wants more than arrays.
    """
    choose_split(split, tuple(_BATCHES))
    found = existing(path, _WANTED)
    place = found if found.is_file() else _locate(found)
    contents = _from_archive(place, split) if place.is_file() else _from_folder(place, split)
    images, labels = [], []
    for name in sorted(contents):
        parse = _binary if name.endswith(".bin") else _pickled
        rows, classes = parse(contents.pop(name), f"{place}: {name}")
        images.append(rows)
        labels.append(classes)
    starts = np.cumsum([0] + [len(rows) for rows in images])
    batches = _BATCHES[split]

    def name_of(index: int) -> str:
        batch = int(np.searchsorted(starts, index, side="right")) - 1
        return f"{batches[batch]} row {index - starts[batch]}"

    files = [place] if place.is_file() else sorted(p for p in place.iterdir() if p.name.split(".")[0] in batches)
    digest = signature(((file.name, file.stat()) for file in files), split)
    planes = np.concatenate(images).reshape(-1, 3, 32, 32)
    return ArrayReader(planes.transpose(0, 2, 3, 1), np.concatenate(labels), name_of, digest)


def _names(split: str) -> tuple[list[str], list[str]]:
    """Of the Python version's files and of the binary version's."""
    return _BATCHES[split], [f"{name}.bin" for name in _BATCHES[split]]


def _locate(folder: pathlib.Path) -> pathlib.Path:
    """The folder of the batches, or the archive, at or in `folder`."""
    for name in _PLACES:
        place = folder / name
        if place.is_file() or any(
            (place / n).is_file() for split in _BATCHES for names in _names(split) for n in names
        ):
            return place
    raise InputError(f"{folder} has no CIFAR-10 in it: config.data.path must be {_WANTED}")


def _from_folder(folder: pathlib.Path, split: str) -> dict[str, bytes]:
    names = _choose(folder, split, {path.name for path in folder.iterdir()})
    try:
        return {name: (folder / name).read_bytes() for name in names}
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({one_line(error)}): {_AGAIN}") from None


def _from_archive(path: pathlib.Path, split: str) -> dict[str, bytes]:
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = pathlib.PurePosixPath(member.name).name
                file = archive.extractfile(member) if any(name in names for names in _names(split)) else None
                if file is not None:
                    found[name] = file.read()
            if archive.fileobj is not None:
                while archive.fileobj.read(2**20):  # To the end, where gzip has its checksum.
                    pass
    except (tarfile.TarError, OSError, EOFError, KeyError, zlib.error) as error:
        raise InputError(f"{path} is not a tar archive, or damaged ({one_line(error)}): {_AGAIN}") from None
    return {name: found[name] for name in _choose(path, split, set(found))}


def _choose(place: pathlib.Path, split: str, present: set[str]) -> list[str]:
    """The names of one version, all of which are present."""
    python, binary = _names(split)
    names = python if present & set(python) or not present & set(binary) else binary
    missing = [name for name in names if name not in present]
    if missing:
        raise InputError(f"{place} has no {', '.join(missing)} (CIFAR-10, split {split!r}): {_AGAIN}")
    return names


def _binary(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    if not data or len(data) % (1 + _PIXELS):
        raise InputError(f"{where} has {len(data)} bytes, not a multiple of {1 + _PIXELS}: {_AGAIN}")
    rows = np.frombuffer(data, np.uint8).reshape(-1, 1 + _PIXELS)
    return _checked(rows[:, 1:], rows[:, 0].astype(np.int64), where)


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _GLOBALS:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, which is no part of CIFAR-10 and could run code")
        return _GLOBALS[module, name]


def _pickled(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        # Of Python 2, whose strings are bytes here; a Python 3 that wrote it again left str.
        batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
        fields = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        rows, labels = np.asarray(fields["data"]), np.asarray(fields["labels"], np.int64)
    except Exception as error:  # Of a damaged pickle Python raises nearly anything.
        raise InputError(f"{where} cannot be read ({type(error).__name__}: {one_line(error)}): {_AGAIN}") from None
    return _checked(rows, labels, where)


def _checked(rows: np.ndarray, labels: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    if rows.dtype != np.uint8 or rows.shape[1:] != (_PIXELS,) or labels.shape != rows.shape[:1]:
        found = f"data {rows.dtype} {list(rows.shape)} and labels {list(labels.shape)}"
        raise InputError(f"{where} has {found}, not uint8 [n, {_PIXELS}] and [n]: {_AGAIN}")
    if len(labels) and not 0 <= labels.min() <= labels.max() <= 9:
        raise InputError(f"{where} has labels of {labels.min()} to {labels.max()}, not 0 to 9: {_AGAIN}")
    return rows, labels
