"""Safe reading of files from an untrusted source: limits on size, on nesting, and on where paths and links point.

A file of a few bytes can claim to hold an image of terabytes, or a list nested a million times, or be a link to another
folder. Every such claim is compared with a limit, or with the size of the file, before memory is allocated for it.
Errors are ValueError and OSError. Their messages start with "it", because the caller puts the file's name in front.
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

# The largest JSON file, and its deepest nesting. The package's own files are nested three deep.
MAX_JSON_BYTES, MAX_JSON_DEPTH = 2**28, 50

# The number of characters of a value that an error message shows.
MAX_SHOWN = 200

# A compressed file may unpack to `MAX_UNPACKED` bytes or to `MAX_RATIO` times its own size, whichever is more.
MAX_UNPACKED, MAX_RATIO = 2**28, 100


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises:
      ValueError: the file is larger, or not a regular file (reading a pipe may never end).
      OSError: the file cannot be read.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    if status.st_size > limit:
        raise ValueError(f"it has {status.st_size:,} bytes, more than {limit:,}")
    return pathlib.Path(path).read_bytes()


def parse_json(text: str | bytes) -> Any:
    """Parse JSON that is nested at most `MAX_JSON_DEPTH` deep.

    Raises:
      ValueError: `text` is not valid JSON, or is nested deeper.
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
    """Parse a JSON file of at most `MAX_JSON_BYTES`.

    Raises:
      ValueError: the file is not valid JSON, too large, or nested too deeply.
      OSError: the file cannot be read.
    """
    return parse_json(read_bytes(path, MAX_JSON_BYTES))


def gunzip(data: bytes, limit: int) -> bytes:
    """Unpack gzipped bytes to at most `limit` bytes. Bytes that are not gzipped are returned unchanged.

    Raises:
      ValueError: the data unpacks to more, or is damaged.
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
    """Yield the arrays of an .npz file; each is read when it is accessed. Arrays of Python objects are never read.

    Raises:
      ValueError, OSError, or an error of zipfile: the file is not an .npz file, is damaged, or claims to unpack to far
        more than its own size.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        # np.load would read a file that is no zip as .npy or as a pickle.
        if file.read(2) != b"PK":
            raise ValueError("it is no zip file")
        with zipfile.ZipFile(file) as archive:
            check_unpacked(archive, os.fstat(file.fileno()).st_size)
            for info in archive.infolist():
                if not info.filename.endswith(".npy"):  # numpy returns such a member as bytes, only on access.
                    continue
                with archive.open(info) as member:
                    _check_array(info.filename, member, info.file_size)
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            yield arrays


def check_unpacked(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse an archive of `size` bytes whose members claim to unpack to far more.

    Raises:
      ValueError: the sum is above both `MAX_UNPACKED` and `MAX_RATIO` times `size`.
    """
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > max(MAX_UNPACKED, MAX_RATIO * size):
        raise ValueError(f"it has {size:,} bytes and would unpack to {unpacked:,}, more than {MAX_RATIO} times as many")


def _check_array(name: str, member: Any, size: int) -> None:
    """Refuse a member whose size is not that of the array in its header, for which numpy would allocate the memory.

    Args:
      name: name of the member, for the message.
      member: the open member, at its beginning.
      size: its unpacked size in bytes.

    Raises:
      ValueError: the sizes differ, or the version of numpy's format is unknown.
    """
    version = np.lib.format.read_magic(member)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"its member {name!r} is of an unknown version of numpy's format")
    shape, _, dtype = read_header[version](member)
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != size - member.tell():
        raise ValueError(f"its member {name!r} does not have the size of {dtype} {list(shape)}")


def leads_out(root: str | os.PathLike[str], path: str | os.PathLike[str]) -> str | None:
    """Return the real path of `path` if links lead it out of the folder `root`, or None if it stays inside."""
    real = os.path.realpath(path)
    inside = pathlib.PurePath(real).is_relative_to(os.path.realpath(root))
    return None if inside else real


def escapes(member: str) -> bool:
    """Return True if a relative path (of a member of an archive, say) is absolute or leads upwards with "..".

    Backslashes count as slashes; drive letters and NUL are refused as well.
    """
    parts = pathlib.PurePosixPath(member.replace("\\", "/")).parts
    return member.startswith(("/", "\\")) or ".." in parts or "\0" in member or (len(member) > 1 and member[1] == ":")


def shown(value: Any) -> str:
    """Return the repr of a value for an error message, cut after `MAX_SHOWN` characters: it may have megabytes."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
