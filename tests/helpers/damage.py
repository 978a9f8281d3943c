"""Kinds of damage to a file or folder, for tests that it is noticed."""

import pathlib
import shutil


def flip(path: pathlib.Path) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1 << len(content) % 8
    path.write_bytes(content)


def truncate(path: pathlib.Path) -> None:
    """Remove the second half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def delete(path: pathlib.Path) -> None:
    path.unlink()


def empty(path: pathlib.Path) -> None:
    """Remove everything in a folder."""
    shutil.rmtree(path)
    path.mkdir()
