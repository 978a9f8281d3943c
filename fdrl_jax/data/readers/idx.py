"""The IDX files of MNIST and its relatives (http://yann.lecun.com/exdb/mnist), plain or gzipped."""

import math
import os
import pathlib
import re
import struct

import numpy as np
from jaxtyping import UInt8

from fdrl_jax.data.readers.base import (
    MAX_UNPACKED,
    ArrayReader,
    check_inside,
    choose_split,
    existing,
    signature,
)
from fdrl_jax.data.readers.messages import one_line
from fdrl_jax.types import InputError
from fdrl_jax.utils.untrusted_files import gunzip, read_bytes

_PREFIXES = {"train": "train", "test": "t10k"}
_WANTED = (
    "a folder with train-images-idx3-ubyte[.gz], or such a file (MNIST, or Fashion-MNIST from "
    "https://github.com/zalandoresearch/fashion-mnist)"
)


def idx(path: str | os.PathLike[str], split: str = "train") -> ArrayReader:
    """Load the images of MNIST or Fashion-MNIST, uint8 [n, h, w, 1], and their labels if the file of labels exists.

    Args:
      path: a folder with {train,t10k}-images-idx3-ubyte[.gz] (or '.idx3'), or one file of images, which is then read
        whatever `split` is.
      split: "train" or "test".

    Raises:
      InputError: there is no such file, or it is damaged.
    """
    choose_split(split, tuple(_PREFIXES))
    root = existing(path, _WANTED)
    images_file = _find(root, f"{_PREFIXES[split]}-images", 3) if root.is_dir() else root
    if images_file is None:
        raise InputError(f"{root} has no {_PREFIXES[split]}-images-idx3-ubyte[.gz]: config.data.path must be {_WANTED}")
    if root.is_dir():
        check_inside(root, images_file)
    images = _read(images_file, "images", 3)
    files = [images_file]
    stem = re.sub(r"images[-.]idx3.*", "labels", images_file.name)
    labels_file = _find(images_file.parent, stem, 1)
    labels = None
    if labels_file is not None:
        if root.is_dir():
            check_inside(root, labels_file)
        files.append(labels_file)
        labels = _read(labels_file, "labels", 1).astype(np.int64)
        if len(labels) != len(images):
            raise InputError(
                f"{labels_file} has {len(labels)} labels for the {len(images)} images of {images_file.name}"
            )
    digest = signature((file.name, file.stat()) for file in files)
    return ArrayReader(images[..., None], labels, lambda index: f"{images_file} image {index}", digest)


def _find(folder: pathlib.Path, stem: str, ndim: int) -> pathlib.Path | None:
    names = (f"{stem}{joint}idx{ndim}-ubyte{end}" for joint in "-." for end in ("", ".gz"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read(path: pathlib.Path, what: str, ndim: int) -> UInt8[np.ndarray, "..."]:
    try:
        data = gunzip(read_bytes(path, 2**34), MAX_UNPACKED)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({one_line(error)}): get it again") from None
    # Big-endian: two zero bytes, the type (8: unsigned byte), the number of axes, and the length of each.
    header = 4 + 4 * ndim
    if len(data) < header or data[:4] != bytes([0, 0, 8, ndim]):
        raise InputError(f"{path} is not an IDX file of {what}: it starts with {data[:4].hex()}, not 000008{ndim:02x}")
    shape = struct.unpack(f">{ndim}I", data[4:header])
    if len(data) - header != math.prod(shape):
        raise InputError(
            f"{path} is damaged: {len(data) - header} bytes after its header, which says {list(shape)}: get it again"
        )
    if 0 in shape:
        raise InputError(f"{path} has no {what} (its header says {list(shape)}): get it again")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
