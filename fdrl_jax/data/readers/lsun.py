"""LSUN (https://github.com/fyu/lsun): an LMDB whose values are JPEG or WebP images."""

import os
import pathlib
import threading
import weakref

import lmdb

from fdrl_jax.data.readers.base import EncodedReader, check_inside, existing, one_line, printable, signature
from fdrl_jax.types import InputError

_AGAIN = "get church_outdoor_train_lmdb.zip with https://github.com/fyu/lsun and unpack it"
_WANTED = f"an LMDB folder such as church_outdoor_train_lmdb: {_AGAIN}"

# LMDB must not open a file twice in a process, and two data sets may well read one file.
_environments: "weakref.WeakValueDictionary[str, _Environment]" = weakref.WeakValueDictionary()
_lock = threading.Lock()


def lsun(path: str | os.PathLike[str]) -> EncodedReader:
    """The images of one LMDB, in the order of their keys, as RGB.

    Args:
      path: a folder with data.mdb, such as church_outdoor_train_lmdb. It is opened read-only and without a lock file:
        the disk may be read-only, and nobody may write to it meanwhile.

    Raises:
      InputError: no LMDB, one that is cut off, or an empty one.
    """
    found = existing(path, _WANTED)
    file = found / "data.mdb"
    if not file.is_file():
        inside = sorted(place.parent.name for place in found.glob("*/data.mdb")) if found.is_dir() else []
        advice = (
            f"give one of the folders in it: {', '.join(inside)}" if inside else f"config.data.path must be {_WANTED}"
        )
        raise InputError(f"{found} has no data.mdb in it: {advice}")
    check_inside(found, file)
    environment = _environment(found)
    keys = environment.keys()
    if not keys:
        raise InputError(f"{file} has no images in it: {_AGAIN}")
    return EncodedReader(
        len(keys),
        lambda index: printable(f"{found} key {keys[index].decode(errors='backslashreplace')}"),
        lambda index: environment.value(keys[index]),
        signature([(file.name, file.stat())]),
        rgb=True,
    )


class _Environment:
    """An open LMDB; closed when nothing refers to it."""

    def __init__(self, folder: pathlib.Path) -> None:
        # No readahead: training reads in any order. map_size: less than the file is taken as the file's size.
        self._lmdb = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, meminit=False, create=False)
        last, page = self._lmdb.info()["last_pgno"], self._lmdb.stat()["psize"]
        size = (folder / "data.mdb").stat().st_size
        if size < (last + 1) * page:  # Reading beyond the end would kill the process (SIGBUS).
            self._lmdb.close()
            raise lmdb.CorruptedError(f"it has {size} bytes and should have {(last + 1) * page}")
        weakref.finalize(self, self._lmdb.close)

    def keys(self) -> list[bytes]:
        with self._lmdb.begin() as transaction:
            return list(transaction.cursor().iternext(keys=True, values=False))

    def value(self, key: bytes) -> bytes:
        with self._lmdb.begin() as transaction:  # One a call: a transaction belongs to one thread.
            value = transaction.get(key)
        if value is None:
            raise KeyError("it was there before")
        return value


def _environment(folder: pathlib.Path) -> _Environment:
    real = os.path.realpath(folder)
    with _lock:
        environment = _environments.get(real)
        if environment is None:
            try:
                environment = _environments[real] = _Environment(folder)
            except (lmdb.Error, OSError) as error:
                raise InputError(
                    f"{folder / 'data.mdb'} is not an LMDB, or damaged ({one_line(error)}): {_AGAIN}"
                ) from None
        return environment
