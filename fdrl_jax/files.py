"""Writing files so that a reader, after a kill or a loss of power too, never sees half of one."""

import contextlib
import io
import os
import pathlib
from collections.abc import Iterator

from fdrl_jax.types import InputError


@contextlib.contextmanager
def atomic(path: pathlib.Path, durable: bool = False) -> Iterator[pathlib.Path]:
    """Yield a temporary path beside `path`, of the same suffix: it replaces `path` on success, else it is removed.

    With `durable`, for what cannot be made again, it is on the disk then: milliseconds on some, tens on others.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
        if durable:
            sync(path.parent)
    except OSError as error:
        # Of a full disk Python does not say which file it was.
        if error.filename in (None, temporary, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):  # A disk that became read-only: it is there no more than the error says.
            temporary.unlink(missing_ok=True)


def sync(path: pathlib.Path) -> None:
    """Force a file's content to the disk; or a folder's list of names, where the file system can do that."""
    if path.is_dir():
        with contextlib.suppress(OSError):
            _sync(path, os.O_RDONLY)
    else:
        _sync(path, os.O_RDWR)


def _sync(path: pathlib.Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def expanded(path: str | os.PathLike[str]) -> pathlib.Path:
    """A path as a user gives it, with ~ and ~name as the home folders that they are.

    Raises:
      InputError: there is no user of that name.
    """
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{path}: there is no home folder of that user: write the path out") from None


class Appended:
    """A file that is added to, piece by piece, each whole or not at all; what could not be written waits for the next.

    Nothing stays open. The file and its folder are made when there is something to write.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._waiting: list[bytes] = []

    @property
    def waiting(self) -> int:
        """How many pieces are not written."""
        return len(self._waiting)

    def add(self, piece: bytes) -> None:
        """Write it, after those that wait.

        Raises:
          OSError: it waits with them.
        """
        self._waiting.append(piece)
        self.flush()

    def flush(self) -> None:
        """Write those that wait.

        Raises:
          OSError: they go on waiting.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            while self._waiting:
                try:
                    _write_all(file, self._waiting[0])
                except OSError:
                    file.truncate(size)
                    raise
                size += len(self._waiting.pop(0))


def _write_all(file: io.FileIO, piece: bytes) -> None:
    """A full disk takes a part without a word, and the rest is an error only when it is tried."""
    while piece:
        piece = piece[file.write(piece) :]


def cut(path: pathlib.Path, size: int) -> None:
    """Keep the first `size` bytes of a file, which needs no room on the disk; one that is not longer is left alone."""
    if path.stat().st_size > size:
        os.truncate(path, size)
