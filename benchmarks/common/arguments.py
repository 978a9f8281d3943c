"""Types of command-line arguments; a bad value is reported in one line before anything is measured."""

import argparse
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Collection


def count(text: str) -> int:
    """Return `text` as an integer of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be an integer of at least 1")
    return value


def positive(text: str) -> float:
    """Return `text` as a finite number above 0."""
    value = _finite(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a finite number above 0")
    return value


def not_negative(text: str) -> float:
    """Return `text` as a finite number of at least 0."""
    value = _finite(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a finite number of at least 0")
    return value


def _finite(text: str) -> float:
    """Return `text` as a number; NaN, which fails every comparison, if it is none or not finite."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def names(known: Collection[str]) -> Callable[[str], list[str]]:
    """Return the type of a list of names from `known`, separated by commas."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := sorted(set(chosen) - set(known)):
            shown = ", ".join(name or "an empty name" for name in unknown)
            raise argparse.ArgumentTypeError(f"unknown: {shown}; choose from {', '.join(known)}")
        return chosen

    return parse


def new_file(text: str) -> pathlib.Path:
    """Return the path of a file to write, in a folder that exists."""
    path = pathlib.Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} must be a file and is a folder")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} must be in a folder that exists")
    return path


def folder(text: str) -> pathlib.Path:
    """Return the path of a folder that exists or can be made."""
    path = pathlib.Path(text)
    for part in (path, *path.parents):
        if part.exists() and not part.is_dir():
            raise argparse.ArgumentTypeError(f"{text!r} must be a folder, and {str(part)!r} is a file")
    return path


def python(text: str) -> str:
    """Return the absolute path of an executable, which is searched for as a shell does; `none` is returned as it is."""
    if text == "none":
        return text
    executable = shutil.which(text)
    if executable is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be an executable, or none")
    # Absolute, because the process is started in another folder. Symbolic links are not resolved: a virtual
    # environment's Python is one, and finds its packages by the link's own location.
    return os.path.abspath(executable)
