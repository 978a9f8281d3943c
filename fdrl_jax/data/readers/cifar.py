"""CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html), in its Python version or its binary version."""

import io
import os
import pathlib
import tarfile
from typing import Any

import numpy as np

from fdrl_jax.data.readers.base import (
    MAX_UNPACKED,
    ArrayReader,
    check_inside,
    choose_split,
    existing,
    signature,
)
from fdrl_jax.data.readers.messages import one_line
from fdrl_jax.types import InputError
from fdrl_jax.utils import safe_pickle
from fdrl_jax.utils.untrusted_files import escapes, gunzip, read_bytes

_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
_LOCATIONS = ("cifar-10-batches-py", "cifar-10-batches-bin", "", "cifar-10-python.tar.gz", "cifar-10-binary.tar.gz")
_DOWNLOAD = "get cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html"
_WANTED = f"cifar-10-python.tar.gz, or a folder with it or with cifar-10-batches-py: {_DOWNLOAD}"

# An image is 1024 bytes each of red, green and blue, row by row. In the binary version its label precedes it, one byte.
_PIXELS = 3 * 32 * 32


def cifar10(path: str | os.PathLike[str], split: str = "train") -> ArrayReader:
    """Load the images, uint8 [n, 32, 32, 3], and labels of CIFAR-10, in the order of its files.

    Args:
      path: cifar-10-python.tar.gz, cifar-10-batches-py, or a folder with one of them; or the binary version's
        cifar-10-binary.tar.gz or cifar-10-batches-bin.
      split: "train" or "test".

    Raises:
      InputError: the files do not exist, or one is missing, damaged or a pickle of more than arrays and lists.
    """
    choose_split(split, tuple(_BATCHES))
    root = existing(path, _WANTED)
    source = root if root.is_file() else _locate(root)
    if source != root:
        check_inside(root, source)
    contents = _from_archive(source, split) if source.is_file() else _from_folder(source, split)
    images, labels = [], []
    for name in sorted(contents):
        parse = _binary if name.endswith(".bin") else _pickled
        rows, classes = parse(contents.pop(name), f"{source}: {name}")
        images.append(rows)
        labels.append(classes)
    starts = np.cumsum([0] + [len(rows) for rows in images])
    batches = _BATCHES[split]

    def name_of(index: int) -> str:
        batch = int(np.searchsorted(starts, index, side="right")) - 1
        return f"{batches[batch]} row {index - starts[batch]}"

    files = [source] if source.is_file() else sorted(p for p in source.iterdir() if p.name.split(".")[0] in batches)
    digest = signature(((file.name, file.stat()) for file in files), split)
    planes = np.concatenate(images).reshape(-1, 3, 32, 32)
    return ArrayReader(planes.transpose(0, 2, 3, 1), np.concatenate(labels), name_of, digest)


def _names(split: str) -> tuple[list[str], list[str]]:
    """Return the names of the files of a split: those of the Python version, and those of the binary version."""
    return _BATCHES[split], [f"{name}.bin" for name in _BATCHES[split]]


def _locate(folder: pathlib.Path) -> pathlib.Path:
    """Find the folder of the batches, or the archive, at or in `folder`."""
    for name in _LOCATIONS:
        path = folder / name
        if path.is_file() or any((path / n).is_file() for split in _BATCHES for names in _names(split) for n in names):
            return path
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
        raise InputError(f"{folder} cannot be read ({one_line(error)}): {_DOWNLOAD}") from None


def _from_archive(path: pathlib.Path, split: str) -> dict[str, bytes]:
    batches = {}
    try:
        # The archive is unpacked to its end, because gzip's checksum is there.
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
                batches[name] = file.read()
    except Exception as error:  # For a damaged archive tarfile also raises errors of other types than its own.
        raise InputError(f"{path} is not a tar archive, or damaged ({one_line(error)}): {_DOWNLOAD}") from None
    return {name: batches[name] for name in _choose(path, split, set(batches))}


def _choose(source: pathlib.Path, split: str, present: set[str]) -> list[str]:
    """Return the names of the files of the version that is `present`.

    Raises:
      InputError: some of them are missing.
    """
    python, binary = _names(split)
    names = python if present & set(python) or not present & set(binary) else binary
    missing = [name for name in names if name not in present]
    if missing:
        raise InputError(f"{source} has no {', '.join(missing)} (CIFAR-10, split {split!r}): {_DOWNLOAD}")
    return names


def _binary(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    if not data or len(data) % (1 + _PIXELS):
        raise InputError(f"{where} has {len(data)} bytes, not a multiple of {1 + _PIXELS}: {_DOWNLOAD}")
    rows = np.frombuffer(data, np.uint8).reshape(-1, 1 + _PIXELS)
    return _checked(rows[:, 1:], rows[:, 0].astype(np.int64), where)


def _table() -> safe_pickle.Table:
    """Return the names that a pickled dict of arrays may refer to, each replaced by an object of this package."""
    array = safe_pickle.Global("numpy.ndarray")
    return {**safe_pickle.numpy_arrays(), "numpy.dtype": safe_pickle.numpy_dtype, "numpy.ndarray": array}


def _pickled(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        # The pickles are of Python 2, whose strings are bytes; files that Python 3 wrote again mix bytes and strings.
        batch = safe_pickle.load(io.BytesIO(data), _table())
        fields = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        rows, labels = _array(fields["data"]), _array(fields["labels"]).astype(np.int64)
    except Exception as error:  # For a damaged pickle Python raises nearly any type.
        raise InputError(f"{where} cannot be read ({type(error).__name__}: {one_line(error)}): {_DOWNLOAD}") from None
    return _checked(rows, labels, where)


def _array(value: Any) -> np.ndarray:
    """Convert a pickled array or list of integers to an array."""
    if type(value) is list and all(type(v) is int for v in value):
        return np.asarray(value, np.int64)
    return safe_pickle.numpy_array(value)


def _checked(rows: np.ndarray, labels: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    if rows.dtype != np.uint8 or rows.shape[1:] != (_PIXELS,) or labels.shape != rows.shape[:1]:
        actual = f"data {rows.dtype} {list(rows.shape)} and labels {list(labels.shape)}"
        raise InputError(f"{where} has {actual}, not uint8 [n, {_PIXELS}] and [n]: {_DOWNLOAD}")
    if len(labels) and not 0 <= labels.min() <= labels.max() <= 9:
        raise InputError(f"{where} has labels of {labels.min()} to {labels.max()}, not 0 to 9: {_DOWNLOAD}")
    return rows, labels
