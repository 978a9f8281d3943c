"""Images in numpy's files: .npy and .npz."""

import os
import pathlib

import numpy as np
from numpy.lib.npyio import NpzFile

from fdrl_jax.data.readers.base import ArrayReader, existing, signature
from fdrl_jax.data.readers.messages import one_line
from fdrl_jax.types import InputError
from fdrl_jax.utils.untrusted_files import open_npz

_WANTED = "a .npy or .npz file of uint8 images [n, h, w] or [n, h, w, c]"
_KEYS = ("images", "arr_0", "x_train")


def arrays(path: str | os.PathLike[str]) -> ArrayReader:
    """Open the images of a .npy file (memory-mapped) or of a .npz file (in memory), uint8 [n, h, w] or [n, h, w, c].

    In a .npz file the array is 'images', 'arr_0' or 'x_train', or else the only array that has this dtype and shape.

    Raises:
      InputError: there is no such file, it is damaged, or its arrays have other dtypes or shapes.
    """
    file = existing(path, _WANTED)
    if file.is_dir():
        raise InputError(f"{file} is a folder: config.data.path must be {_WANTED}")
    try:
        images = _load(file)
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and numpy each raise errors of their own types.
        raise InputError(f"{file} cannot be read ({one_line(error)}): config.data.path must be {_WANTED}") from None
    if problem := _problem(images):
        raise InputError(f"{file} {problem}")
    images = images[..., None] if images.ndim == 3 else images
    return ArrayReader(images, None, lambda index: f"{file} image {index}", signature([(file.name, file.stat())]))


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
        except ValueError:  # An array of Python objects is a pickle, which numpy refuses to load here.
            continue
        if _problem(array) is None:
            candidates[key] = array
    if len(candidates) != 1:
        names = ", ".join(candidates or loaded.files) or "no array"
        raise InputError(
            f"{path} has {names}: {'which is it?' if candidates else 'none is uint8 [n, h, w] or [n, h, w, c]:'} "
            "call the images' array 'images'"
        )
    return next(iter(candidates.values()))


def _problem(images: np.ndarray) -> str | None:
    """Return a message that says why `images` cannot be used, or None if they can."""
    actual = f"has {images.dtype} {list(images.shape)}"
    wanted = "uint8 [n, h, w] or [n, h, w, c] with c of 1 (grey) or 3 (RGB), or 2 or 4 with transparency"
    if images.dtype != np.uint8:
        return f"{actual} and not {wanted}: scale to 0..255 and convert it"
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 2, 3, 4)):
        channels_first = images.ndim == 4 and images.shape[1] in (1, 3)
        return f"{actual} and not {wanted}: {'put channels last' if channels_first else 'change its shape'}"
    return f"{actual}: it is empty" if 0 in images.shape else None
