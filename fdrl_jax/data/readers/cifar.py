"""CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html), the Python version or the binary one."""

import io
import os
import pathlib
import tarfile
from typing import Any

import numpy as np

from fdrl_jax import pickles
from fdrl_jax.data.readers.base import (
    MAX_UNPACKED,
    ArrayReader,
    check_inside,
    choose_split,
    existing,
    one_line,
    signature,
)
from fdrl_jax.types import InputError
from fdrl_jax.untrusted import escapes, gunzip, read_bytes

_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
_PLACES = ("cifar-10-batches-py", "cifar-10-batches-bin", "", "cifar-10-python.tar.gz", "cifar-10-binary.tar.gz")
_AGAIN = "get cifar-10-python.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html"
_WANTED = f"cifar-10-python.tar.gz, or a folder with it or with cifar-10-batches-py: {_AGAIN}"

# 1024 bytes each of red, green and blue, row by row; before them in the binary version, one byte of label.
_PIXELS = 3 * 32 * 32


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
    if place != found:
        check_inside(found, place)
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
    try:
        names = _choose(folder, split, {path.name for path in folder.iterdir()})
        for name in names:
            check_inside(folder, folder / name)
        return {name: read_bytes(folder / name, MAX_UNPACKED) for name in names}
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} cannot be read ({one_line(error)}): {_AGAIN}") from None


def _from_archive(path: pathlib.Path, split: str) -> dict[str, bytes]:
    found = {}
    try:
        # Whole, and so to the end, where gzip has its checksum.
        data = gunzip(read_bytes(path, MAX_UNPACKED), MAX_UNPACKED)
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                if escapes(member.name):
                    raise ValueError(f"its member {member.name[:100]!r} leads out of a folder")
                name = pathlib.PurePosixPath(member.name).name
                if not any(name in names for names in _names(split)):
                    continue
                if not member.isfile():
                    raise ValueError(f"its member {member.name[:100]!r} is no file but a link or the like")
                file = archive.extractfile(member)
                assert file is not None
                found[name] = file.read()
    except Exception as error:  # tarfile has more than its own for what is not well formed.
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


def _table() -> pickles.Table:
    """All that a pickled dict of arrays and lists needs. Nothing is called but functions of ours."""
    array = pickles.Global("numpy.ndarray")
    return {**pickles.numpy_arrays(), "numpy.dtype": pickles.numpy_dtype, "numpy.ndarray": array}


def _pickled(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        # Of Python 2, whose strings are bytes; a Python 3 that wrote it again left some of both.
        batch = pickles.load(io.BytesIO(data), _table())
        fields = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        rows, labels = _array(fields["data"]), _array(fields["labels"]).astype(np.int64)
    except Exception as error:  # Of a damaged pickle Python raises nearly anything.
        raise InputError(f"{where} cannot be read ({type(error).__name__}: {one_line(error)}): {_AGAIN}") from None
    return _checked(rows, labels, where)


def _array(value: Any) -> np.ndarray:
    """A pickled array, or a list of integers as one."""
    if type(value) is list and all(type(v) is int for v in value):
        return np.asarray(value, np.int64)
    return pickles.numpy_array(value)


def _checked(rows: np.ndarray, labels: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    if rows.dtype != np.uint8 or rows.shape[1:] != (_PIXELS,) or labels.shape != rows.shape[:1]:
        found = f"data {rows.dtype} {list(rows.shape)} and labels {list(labels.shape)}"
        raise InputError(f"{where} has {found}, not uint8 [n, {_PIXELS}] and [n]: {_AGAIN}")
    if len(labels) and not 0 <= labels.min() <= labels.max() <= 9:
        raise InputError(f"{where} has labels of {labels.min()} to {labels.max()}, not 0 to 9: {_AGAIN}")
    return rows, labels
