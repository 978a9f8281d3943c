"""LSUN (https://github.com/fyu/lsun): an LMDB whose values are JPEG or WebP images."""

import os
import pathlib
import threading
import weakref

import lmdb

from fdrl_jax.data.readers.base import EncodedReader, check_inside, existing, signature
from fdrl_jax.data.readers.messages import one_line, printable
from fdrl_jax.types import InputError

_DOWNLOAD = "get church_outdoor_train_lmdb.zip with https://github.com/fyu/lsun and unpack it"
_WANTED = f"an LMDB folder such as church_outdoor_train_lmdb: {_DOWNLOAD}"

# Open LMDBs by path. LMDB must not open a file twice in a process, but two data sets may read the same file.
_environments: "weakref.WeakValueDictionary[str, _Environment]" = weakref.WeakValueDictionary()
_lock = threading.Lock()


def lsun(path: str | os.PathLike[str]) -> EncodedReader:
    """Open the images of one LMDB, in the order of their keys, as RGB.

    Args:
      path: a folder with data.mdb, such as church_outdoor_train_lmdb. It is opened read-only and without a lock file:
        the disk may be read-only, and no process may write to the LMDB meanwhile.

    Raises:
      InputError: there is no LMDB, or it is truncated or empty.
    """
    folder = existing(path, _WANTED)
    file = folder / "data.mdb"
    if not file.is_file():
        subfolders = sorted(path.parent.name for path in folder.glob("*/data.mdb")) if folder.is_dir() else []
        advice = (
            f"give one of the folders in it: {', '.join(subfolders)}"
            if subfolders
            else f"config.data.path must be {_WANTED}"
        )
        raise InputError(f"{folder} has no data.mdb in it: {advice}")
    check_inside(folder, file)
    environment = _environment(folder)
    keys = environment.keys()
    if not keys:
        raise InputError(f"{file} has no images in it: {_DOWNLOAD}")
    return EncodedReader(
        len(keys),
        lambda index: printable(f"{folder} key {keys[index].decode(errors='backslashreplace')}"),
        lambda index: environment.value(keys[index]),
        signature([(file.name, file.stat())]),
        rgb=True,
    )


class _Environment:
    """An open LMDB, which is closed when no object refers to it."""

    def __init__(self, folder: pathlib.Path) -> None:
        # Training reads in random order, so readahead does not help. LMDB raises map_size to the size of the file.
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
        with self._lmdb.begin() as transaction:  # A transaction belongs to one thread, so each call has its own.
            value = transaction.get(key)
        if value is None:
            raise KeyError("the key was listed before but is missing now")
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
                    f"{folder / 'data.mdb'} is not an LMDB, or damaged ({one_line(error)}): {_DOWNLOAD}"
                ) from None
        return environment
