"""Reading files that someone else made: how much they may unpack to, how deep they may go, where they may lead.

A file of a few bytes can say that it is an image of terabytes, a list in a list a million times, or a link elsewhere.
What such a file says is compared with a bound, or with the file's own size, before it is believed. Errors here are
ValueErrors and OSErrors, whose texts say what is wrong and go on from the file's name; the callers name the file.
"""

import contextlib
import gzip
import io
import json
import math
import os
import pathlib
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

# Of a JSON file, and of groups in groups in it. Ours have three.
MAX_JSON_BYTES, MAX_JSON_DEPTH = 2**28, 50

# Characters of a value in a message.
MAX_SHOWN = 200

# What a compressed file may unpack to in any case, and beyond that how many times its own size.
MAX_UNPACKED, MAX_RATIO = 2**28, 100


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """The bytes of a regular file of at most `limit`.

    Raises:
      ValueError: it is larger, or no regular file: a pipe would never end.
      OSError: it cannot be read.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is no regular file")
    if found.st_size > limit:
        raise ValueError(f"it has {found.st_size:,} bytes, more than {limit:,}")
    return pathlib.Path(path).read_bytes()


def parse_json(text: str | bytes) -> Any:
    """What JSON says, nested at most `MAX_JSON_DEPTH` deep.

    Raises:
      ValueError: it is none, or goes deeper.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return value
    raise ValueError(f"it is nested more than {MAX_JSON_DEPTH} deep")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def load_json(path: pathlib.Path) -> Any:
    """What a JSON file says.

    Raises:
      ValueError: it is no JSON, too large, or too deeply nested.
      OSError: it cannot be read.
    """
    return parse_json(read_bytes(path, MAX_JSON_BYTES))


def gunzip(data: bytes, limit: int) -> bytes:
    """What gzipped bytes unpack to, at most `limit` bytes. Bytes that are not gzipped are returned as they are.

    Raises:
      ValueError: it is more, or damaged.
    """
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error) or type(error).__name__) from None
    if len(unpacked) > limit:
        raise ValueError(f"it unpacks to more than {limit:,} bytes")
    return unpacked


@contextlib.contextmanager
def open_npz(path: pathlib.Path) -> Iterator[NpzFile]:
    """The arrays of an .npz file, read one by one as they are asked for. Python objects in it are never read.

    Raises:
      ValueError, OSError, or one of zipfile's own: it is none, is damaged, or says that it unpacks to far more than
        it has.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        # np.load takes other files for a .npy or a pickle.
        if file.read(2) != b"PK":
            raise ValueError("it is no zip file")
        with zipfile.ZipFile(file) as archive:
            check_unpacked(archive, os.fstat(file.fileno()).st_size)
            for info in archive.infolist():
                if not info.filename.endswith(".npy"):  # numpy gives its bytes, and only if asked.
                    continue
                with archive.open(info) as member:
                    _check_array(info.filename, member, info.file_size)
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            yield arrays


def check_unpacked(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse an archive of `size` bytes that says it unpacks to far more.

    Raises:
      ValueError: it does.
    """
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > max(MAX_UNPACKED, MAX_RATIO * size):
        raise ValueError(f"it has {size:,} bytes and would unpack to {unpacked:,}, more than {MAX_RATIO} times as many")


def _check_array(name: str, member: Any, size: int) -> None:
    """Refuse a member whose header is not of an array of its size: numpy takes the memory first and reads then."""
    version = np.lib.format.read_magic(member)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"its member {name!r} is of an unknown version of numpy's format")
    shape, _, dtype = read_header[version](member)
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != size - member.tell():
        raise ValueError(f"its member {name!r} does not have the numbers of {dtype} {list(shape)}")


def leads_out(root: str | os.PathLike[str], path: str | os.PathLike[str]) -> str | None:
    """Where `path`, in the folder `root`, leads by a link to outside that folder; None where it stays inside."""
    real = os.path.realpath(path)
    inside = pathlib.PurePath(real).is_relative_to(os.path.realpath(root))
    return None if inside else real


def escapes(member: str) -> bool:
    """Whether the name of an archive's member, or of a file below a folder, is absolute or goes upwards."""
    parts = pathlib.PurePosixPath(member.replace("\\", "/")).parts
    return member.startswith(("/", "\\")) or ".." in parts or "\0" in member or (len(member) > 1 and member[1] == ":")


def shown(value: Any) -> str:
    """A value in a message: its repr, cut after `MAX_SHOWN` characters. JSON of someone else may hold megabytes."""
    found = repr(value)
    return found if len(found) <= MAX_SHOWN else f"{found[:MAX_SHOWN]}..."
