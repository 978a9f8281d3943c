"""A folder of PNG, JPEG and WebP images, including its subfolders."""

import os
import pathlib
from collections.abc import Iterator

from fdrl_jax.data.readers.base import MAX_ENCODED, EncodedReader, check_inside, existing, signature
from fdrl_jax.data.readers.messages import printable
from fdrl_jax.types import InputError
from fdrl_jax.utils.untrusted_files import read_bytes

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_WANTED = f"a folder of images ({', '.join(_SUFFIXES)})"

# Maximum depth of subfolders. Links can make the tree deeper than Python's stack.
_MAX_DEPTH = 50


def folder(path: str | os.PathLike[str]) -> EncodedReader:
    """Open all PNG, JPEG and WebP images in the folder `path` and its subfolders, sorted by relative path.

    Links within the folder are followed, but no folder is read twice; a link out of it is refused. Names that start
    with a dot are skipped, as by `ls`: the files of such names that macOS adds to archives (._1.png) are no images.

    Raises:
      InputError: there is no such folder, it has no image, a part of it cannot be read, or a link leads out of it.
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
        raise InputError(f"{root} has no image in it: looked for {', '.join(_SUFFIXES)}, also in its subfolders")
    names = [name for name, _ in files]
    return EncodedReader(
        len(names),
        lambda index: printable(str(root / names[index])),
        lambda index: read_bytes(root / names[index], MAX_ENCODED),
        signature(files),
    )


def _walk(root: str, subfolder: str, visited: set[tuple[int, int]]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield (relative name, stat) of the images in root/subfolder, except in `visited` folders (device, inode)."""
    stat = os.stat(os.path.join(root, subfolder))
    # A link can lead to a folder again; a link to a parent would do so without end.
    if (stat.st_dev, stat.st_ino) in visited:
        return
    visited.add((stat.st_dev, stat.st_ino))
    if subfolder.count("/") >= _MAX_DEPTH:
        where = printable(os.path.join(root, subfolder))
        raise InputError(f"{where} is more than {_MAX_DEPTH} folders deep: make it flatter")
    with os.scandir(os.path.join(root, subfolder)) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = f"{subfolder}/{entry.name}" if subfolder else entry.name
            is_image = entry.name.lower().endswith(_SUFFIXES)
            if entry.name.startswith("."):
                continue
            if (is_image or entry.is_dir()) and (entry.is_symlink() or not entry.is_file()):
                check_inside(pathlib.Path(root), pathlib.Path(root, name))
            if entry.is_dir():
                yield from _walk(root, name, visited)
            elif is_image:
                yield name, entry.stat()
