"""Atomic writing: no reader ever sees half a file, not even after the process is killed or the power fails."""

import contextlib
import io
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def atomic(path: pathlib.Path, durable: bool = False) -> Iterator[pathlib.Path]:
    """Yield a temporary path for the caller to write to; on success it replaces `path`, on an error it is removed.

    Args:
      path: the file to write. The temporary file is in the same folder and has the same suffix.
      durable: also wait until the file is on the disk, so that it survives a loss of power. Meant for files that cannot
        be made again; it takes milliseconds on some disks and tens of milliseconds on others.

    Raises:
      OSError: the file cannot be written; `filename` of the error is `path`.
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
        # The error of a full disk has no file name, and other errors name the temporary file.
        if error.filename in (None, temporary, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):  # The disk may have become read-only; the first error is the one to raise.
            temporary.unlink(missing_ok=True)


def sync(path: pathlib.Path) -> None:
    """Force a file's content to the disk, or a folder's list of names if the file system supports that."""
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


class AppendOnlyFile:
    """A file to which pieces are appended, each completely or not at all.

    A piece that could not be written is kept in memory, and written before the next one. The file is closed between
    writes. The file and its folder are created at the first write.

    Attributes:
      path: the file's path.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._waiting: list[bytes] = []

    @property
    def waiting(self) -> int:
        """The number of pieces in memory that are not written yet."""
        return len(self._waiting)

    def add(self, piece: bytes) -> None:
        """Append a piece, after those that are not written yet.

        Raises:
          OSError: the file cannot be written; the piece is kept for the next call.
        """
        self._waiting.append(piece)
        self.flush()

    def flush(self) -> None:
        """Write the pieces that are not written yet.

        Raises:
          OSError: the file cannot be written; the remaining pieces are kept for the next call.
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
    """Write all of `piece`. A disk that becomes full accepts a part without an error; only the next write fails."""
    while piece:
        piece = piece[file.write(piece) :]


def truncate(path: pathlib.Path, size: int) -> None:
    """Shorten a file to its first `size` bytes, which needs no space on the disk. A shorter file is left unchanged."""
    if path.stat().st_size > size:
        os.truncate(path, size)
