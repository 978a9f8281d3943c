"""The interface of a reader, its two common implementations, and checks of the files that all readers share."""

import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from fdrl_jax.data.readers.decoding import decode
from fdrl_jax.data.readers.messages import one_line, printable
from fdrl_jax.data.transform import ImageError
from fdrl_jax.types import InputError
from fdrl_jax.utils.untrusted_files import leads_out
from fdrl_jax.utils.validation import expanded

# Maximum sizes in bytes of an encoded image, and of what a compressed file of arrays may unpack to. No data set that is
# read here needs more.
MAX_ENCODED, MAX_UNPACKED = 2**28, 2**30


@runtime_checkable
class Reader(Protocol):
    """Images on disk, in a fixed order. A reader can be used by several threads at once."""

    @property
    def labels(self) -> Int64[np.ndarray, " n"] | None:
        """The class of each image, int64 [n], or None if the files have no labels."""
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The name of an image in messages: its file, "data_batch_1 row 17", "img_align_celeba.zip: 000001.jpg"."""
        ...

    def read(self, index: int) -> Image.Image | np.ndarray:
        """Return the decoded image: a PIL image, or uint8 [h, w, c].

        Raises:
          ImageError: the image is damaged or cannot be read.
        """
        ...

    def signature(self) -> str:
        """A hash of the files' relative names, sizes and modification times (not of their contents)."""
        ...


@dataclass(frozen=True)
class ArrayReader:
    """Images in an array, in memory or memory-mapped.

    Attributes:
      images: the images, uint8 [n, h, w, c].
      labels: the classes, int64 [n], or None.
      name_of: function from an index to the image's name.
      digest: the signature.
    """

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int64[np.ndarray, " n"] | None
    name_of: Callable[[int], str]
    digest: str

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return self.name_of(index)

    def read(self, index: int) -> UInt8[np.ndarray, "h w c"]:
        return np.array(self.images[index], order="C")

    def signature(self) -> str:
        return self.digest


@dataclass(frozen=True)
class EncodedReader:
    """Images encoded as PNG, JPEG or WebP, which are decoded when they are read.

    Attributes:
      count: number of images.
      name_of: function from an index to the image's name.
      load: function from an index to the encoded bytes; called from several threads at once.
      digest: the signature.
      rgb: convert every image to RGB, also grey ones, and drop any transparency, as torchvision does for LSUN.
      labels: None.
    """

    count: int
    name_of: Callable[[int], str]
    load: Callable[[int], bytes]
    digest: str
    rgb: bool = False
    labels: None = None

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return self.name_of(index)

    def read(self, index: int) -> Image.Image:
        try:
            data = self.load(index)
        except Exception as error:  # Files, archives and databases each raise errors of their own types.
            raise ImageError(f"cannot be read ({one_line(error)}): restore the file") from None
        image = decode(data)
        return image.convert("RGB") if self.rgb and image.mode != "RGB" else image

    def signature(self) -> str:
        return self.digest


def signature(files: Iterable[tuple[str, os.stat_result]], *parts: str) -> str:
    """Return a short hash of the (relative name, stat) of files, in their order, and of any other `parts`."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(os.fsencode(part) + b"\0")
    for name, stat in files:
        digest.update(os.fsencode(name) + b"\0%d %d\0" % (stat.st_size, stat.st_mtime_ns))
    return digest.hexdigest()


def existing(path: str | os.PathLike[str], wanted: str) -> pathlib.Path:
    """Return `path` with ~ expanded, after checking that it can be read.

    Args:
      path: path of a file or folder.
      wanted: description of the file or folder, and of its origin, for the message.

    Raises:
      InputError: there is no such file or folder, or it may not be read.
    """
    root = expanded(path)
    try:
        root.stat()
    except OSError as error:
        raise InputError(f"{root} cannot be read ({error.strerror}): config.data.path must be {wanted}") from None
    if not os.access(root, os.R_OK | (os.X_OK if root.is_dir() else 0)):
        raise InputError(f"{root} may not be read by this user: change its permissions")
    if not (root.is_dir() or root.is_file()):
        raise InputError(f"{root} is no regular file: config.data.path must be {wanted}")
    return root


def check_inside(root: pathlib.Path, path: pathlib.Path) -> None:
    """Refuse a path of a data set that leads out of its folder, or that is no regular file.

    Whoever makes an archive of images chooses the links in it: a link to a private image would copy that image into
    the samples.

    Raises:
      InputError: `path` is a link out of the folder `root`, or a pipe or the like, whose reading may never end.
    """
    target = leads_out(root, path)
    if target is not None:
        raise InputError(
            f"{printable(str(path))} is a link to {printable(target)}, outside of {printable(str(root))}: copy the "
            "file, or let config.data.path be the folder that contains it"
        )
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{printable(str(path))} is no regular file: remove it")


def choose_split(split: str, splits: tuple[str, ...]) -> None:
    """Refuse a split that is not one of `splits`.

    Raises:
      InputError: it is none of them.
    """
    if split not in splits:
        raise InputError(f"config.data.split = {split!r} must be one of {', '.join(splits)}")
