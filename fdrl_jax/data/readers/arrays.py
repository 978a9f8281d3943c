"""Images in numpy's own files."""

import os
import pathlib

import numpy as np
from numpy.lib.npyio import NpzFile

from fdrl_jax.data.readers.base import ArrayReader, existing, one_line, signature
from fdrl_jax.types import InputError
from fdrl_jax.untrusted import open_npz

_WANTED = "a .npy or .npz file of uint8 images [n, h, w] or [n, h, w, c]"
_KEYS = ("images", "arr_0", "x_train")


def arrays(path: str | os.PathLike[str]) -> ArrayReader:
    """The images of a .npy file (memory-mapped) or of a .npz file (in memory), uint8 [n, h, w] or [n, h, w, c].

    Of a .npz the array is 'images', 'arr_0' or 'x_train', or else the only one that can be images.

    Raises:
      InputError: no such file, damaged, or with arrays of other types or shapes.
    """
    found = existing(path, _WANTED)
    if found.is_dir():
        raise InputError(f"{found} is a folder: config.data.path must be {_WANTED}")
    try:
        images = _load(found)
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and numpy each have their own.
        raise InputError(f"{found} cannot be read ({one_line(error)}): config.data.path must be {_WANTED}") from None
    if problem := _problem(images):
        raise InputError(f"{found} {problem}")
    images = images[..., None] if images.ndim == 3 else images
    return ArrayReader(images, None, lambda index: f"{found} image {index}", signature([(found.name, found.stat())]))


def _load(path: pathlib.Path) -> np.ndarray:
    with path.open("rb") as file:
        is_npz = file.read(2) == b"PK"
    if is_npz:
        with open_npz(path) as loaded:
            return _from_npz(loaded, path)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _from_npz(loaded: NpzFile, path: pathlib.Path) -> np.ndarray:
    for key in _KEYS:
        if key in loaded.files:
            return loaded[key]
    candidates = {}
    for key in loaded.files:
        try:
            array = loaded[key]
        except ValueError:  # Python objects, which would be a pickle.
            continue
        if _problem(array) is None:
            candidates[key] = array
    if len(candidates) != 1:
        found = ", ".join(candidates or loaded.files) or "no array"
        raise InputError(
            f"{path} has {found}: {'which is it?' if candidates else 'none is uint8 [n, h, w] or [n, h, w, c]:'} "
            "call the images' array 'images'"
        )
    return next(iter(candidates.values()))


def _problem(images: np.ndarray) -> str | None:
    found = f"has {images.dtype} {list(images.shape)}"
    wanted = "uint8 [n, h, w] or [n, h, w, c] with c of 1 (grey) or 3 (RGB), or 2 or 4 with transparency"
    if images.dtype != np.uint8:
        return f"{found} and not {wanted}: scale to 0..255 and convert it"
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 2, 3, 4)):
        first = images.ndim == 4 and images.shape[1] in (1, 3)
        return f"{found} and not {wanted}: {'put channels last' if first else 'change its shape'}"
    return f"{found}: it is empty" if 0 in images.shape else None
