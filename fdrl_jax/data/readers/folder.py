"""A folder of images, with whatever folders are in it."""

import os
import pathlib
from collections.abc import Iterator

from fdrl_jax.data.readers.base import EncodedReader, existing, printable, signature
from fdrl_jax.types import InputError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_WANTED = f"a folder of images ({', '.join(_SUFFIXES)})"


def folder(path: str | os.PathLike[str]) -> EncodedReader:
    """All PNG, JPEG and WebP images below `path`, sorted by relative path.

    Links are followed, but no folder is read twice. Names with a dot in front are left out, as `ls` does: what macOS
    puts into archives (._1.png) is no image.

    Raises:
      InputError: no such folder, no image in it, or something in it cannot be read.
    """
    root = existing(path, _WANTED)
    if not root.is_dir():
        raise InputError(f"{root} is a file: config.data.path must be {_WANTED}")
    try:
        files = sorted(_walk(str(root), "", set()), key=lambda file: file[0])
    except OSError as error:
        where = printable(str(error.filename))
        raise InputError(f"{where} cannot be read ({error.strerror}): repair or remove it") from None
    if not files:
        raise InputError(f"{root} has no image in it: looked for {', '.join(_SUFFIXES)}, also in its folders")
    names = [name for name, _ in files]
    return EncodedReader(
        len(names),
        lambda index: printable(str(root / names[index])),
        lambda index: pathlib.Path(root, names[index]).read_bytes(),
        signature(files),
    )


def _walk(root: str, below: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, os.stat_result]]:
    """(relative name, stat) of the images in root/below."""
    here = os.stat(os.path.join(root, below))
    if (here.st_dev, here.st_ino) in seen:  # By a link: up, which would never end, or to what was read before.
        return
    seen.add((here.st_dev, here.st_ino))
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(root, name, seen)
            elif entry.name.lower().endswith(_SUFFIXES):
                yield name, entry.stat()
