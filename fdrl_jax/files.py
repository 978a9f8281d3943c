"""Writing files so that a reader, after a kill or a loss of power too, never sees half of one."""

import contextlib
import errno
import io
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def atomic(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield a temporary path beside `path`, of the same suffix: it replaces `path` on success, else it is removed."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
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
    """Force a file's content, or a folder's list of names, to the disk, where the file system can."""
    if path.is_dir() and os.name == "nt":  # Folders cannot be opened there.
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # Of a folder, on some that are mounted from elsewhere.
            raise
    finally:
        os.close(descriptor)


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
