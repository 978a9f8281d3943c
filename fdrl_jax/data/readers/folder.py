"""A folder of images, with whatever folders are in it."""

import os
import pathlib
from collections.abc import Iterator

from fdrl_jax.data.readers.base import MAX_ENCODED, EncodedReader, check_inside, existing, printable, signature
from fdrl_jax.types import InputError
from fdrl_jax.untrusted import read_bytes

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_WANTED = f"a folder of images ({', '.join(_SUFFIXES)})"

# Folders in folders; a link can make them deeper than Python's stack.
_MAX_DEPTH = 50


def folder(path: str | os.PathLike[str]) -> EncodedReader:
    """All PNG, JPEG and WebP images below `path`, sorted by relative path.

    Links within the folder are followed, but no folder is read twice; a link out of it is refused. Names with a dot in
    front are left out, as `ls` does: what macOS puts into archives (._1.png) is no image.

    Raises:
      InputError: no such folder, no image in it, something in it cannot be read, or a link leads out of it.
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
        lambda index: read_bytes(root / names[index], MAX_ENCODED),
        signature(files),
    )


def _walk(root: str, below: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, os.stat_result]]:
    """(relative name, stat) of the images in root/below."""
    here = os.stat(os.path.join(root, below))
    if (here.st_dev, here.st_ino) in seen:  # By a link: up, which would never end, or to what was read before.
        return
    seen.add((here.st_dev, here.st_ino))
    if below.count("/") >= _MAX_DEPTH:
        where = printable(os.path.join(root, below))
        raise InputError(f"{where} is more than {_MAX_DEPTH} folders deep: make it flatter")
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = f"{below}/{entry.name}" if below else entry.name
            is_image = entry.name.lower().endswith(_SUFFIXES)
            if entry.name.startswith("."):
                continue
            if (is_image or entry.is_dir()) and (entry.is_symlink() or not entry.is_file()):
                check_inside(pathlib.Path(root), pathlib.Path(root, name))
            if entry.is_dir():
                yield from _walk(root, name, seen)
            elif is_image:
                yield name, entry.stat()
