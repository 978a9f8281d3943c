"""Types of the arguments of benchmarks: what is not one of them is told in a line, before anything is measured."""

import argparse
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Collection


def count(text: str) -> int:
    """An integer of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be an integer of at least 1")
    return value


def positive(text: str) -> float:
    """A finite number above 0."""
    value = _finite(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a finite number above 0")
    return value


def not_negative(text: str) -> float:
    """A finite number of at least 0."""
    value = _finite(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a finite number of at least 0")
    return value


def _finite(text: str) -> float:
    """The number, or NaN, which is neither above nor below anything."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def names(known: Collection[str]) -> Callable[[str], list[str]]:
    """Some of these, by commas."""

    def parse(text: str) -> list[str]:
        found = text.split(",")
        if unknown := sorted(set(found) - set(known)):
            shown = ", ".join(name or "an empty name" for name in unknown)
            raise argparse.ArgumentTypeError(f"{shown}: there are {', '.join(known)}")
        return found

    return parse


def new_file(text: str) -> pathlib.Path:
    """A file that is there or can be made, as its folder is there."""
    path = pathlib.Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} must be a file and is a folder")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} must be in a folder that exists")
    return path


def folder(text: str) -> pathlib.Path:
    """A folder that is there or can be made."""
    path = pathlib.Path(text)
    for part in (path, *path.parents):
        if part.exists() and not part.is_dir():
            raise argparse.ArgumentTypeError(f"{text!r} must be a folder, and {str(part)!r} is a file")
    return path


def python(text: str) -> str:
    """An executable, by its path or found as a shell finds it; or `none`."""
    if text == "none":
        return text
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be an executable, or none")
    # It is started in another folder. Links are kept, as a virtual environment is known by its own.
    return os.path.abspath(found)
