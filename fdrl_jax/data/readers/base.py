"""What every reader is, the two kinds there are, and the decoding of PNG, JPEG and WebP."""

import hashlib
import io
import os
import pathlib
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from fdrl_jax.data.transform import MAX_PIXELS, ImageError
from fdrl_jax.files import expanded
from fdrl_jax.types import InputError
from fdrl_jax.untrusted import leads_out

# Of an encoded image, and of what a compressed file of arrays may unpack to: more is no data set that is read here.
MAX_ENCODED, MAX_UNPACKED = 2**28, 2**30


@runtime_checkable
class Reader(Protocol):
    """Images on disk, in a fixed order. Safe to read from several threads at once."""

    @property
    def labels(self) -> Int64[np.ndarray, " n"] | None:
        """The class of each image, where the files say it."""
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What to call an image in messages: its file, "data_batch_1 row 17", "img_align_celeba.zip: 000001.jpg"."""
        ...

    def read(self, index: int) -> Image.Image | np.ndarray:
        """The image, decoded: of PIL, or uint8 [h, w, c].

        Raises:
          ImageError: it is damaged or cannot be read.
        """
        ...

    def signature(self) -> str:
        """A hash over the files' relative names, sizes and times of change (not their contents)."""
        ...


@dataclass(frozen=True)
class ArrayReader:
    """Images whose pixels are at hand, in memory or memory-mapped.

    Attributes:
      images: uint8 [n, h, w, c].
      labels: int64 [n], or None.
      name_of: from an index to the image's name.
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
    """Images that are PNG, JPEG or WebP bytes somewhere.

    Attributes:
      count: how many.
      name_of: from an index to the image's name.
      load: from an index to the bytes; called from several threads at once.
      digest: the signature.
      rgb: convert every image to RGB, grey ones too, and drop any transparency: what torchvision does for LSUN.
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
        except Exception as error:  # Files, archives and databases raise errors of their own.
            raise ImageError(f"cannot be read ({one_line(error)}): restore the file") from None
        image = decode(data)
        return image.convert("RGB") if self.rgb and image.mode != "RGB" else image

    def signature(self) -> str:
        return self.digest


def decode(data: bytes) -> Image.Image:
    """The picture in PNG, JPEG or WebP bytes; the first one of an animation.

    Raises:
      ImageError: there is none, it is cut off or damaged, or it is larger than `MAX_PIXELS`.
    """
    # Not Image.open: it warns of large images, and a warning cannot be turned into an error in one thread alone.
    kind: type[PngImagePlugin.PngImageFile | JpegImagePlugin.JpegImageFile | WebPImagePlugin.WebPImageFile]
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        kind = PngImagePlugin.PngImageFile
    elif data.startswith(b"\xff\xd8\xff"):
        kind = JpegImagePlugin.JpegImageFile
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        kind = WebPImagePlugin.WebPImageFile
    else:
        raise ImageError(f"is not a PNG, JPEG or WebP image (its first bytes are {data[:8]!r}, of {len(data)})")
    try:
        if kind is PngImagePlugin.PngImageFile:
            _check_pixels(data)
        if kind is WebPImagePlugin.WebPImageFile:
            _check_canvas(data)
        image = kind(io.BytesIO(data))
        size = image.size
        if size[0] * size[1] <= MAX_PIXELS:
            image.load()
    except ImageError:
        raise
    except Exception as error:  # Of a damaged file Pillow raises nearly anything.
        raise ImageError(f"is damaged ({one_line(error)}): restore the file") from None
    _check_size(*size)
    return image


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"is {height}x{width} (height x width), more than {MAX_PIXELS} pixels: make it smaller")


def _check_canvas(webp: bytes) -> None:
    """Of an extended WebP: its decoder takes memory for the whole canvas when it is opened."""
    if webp[12:16] == b"VP8X" and len(webp) >= 30:
        _check_size(1 + int.from_bytes(webp[24:27], "little"), 1 + int.from_bytes(webp[27:30], "little"))


def _check_pixels(png: bytes) -> None:
    """Compare the checksums that Pillow leaves out, those of the compressed pixels."""
    start = 8
    while start + 12 <= len(png):
        end = start + 8 + int.from_bytes(png[start : start + 4], "big")
        whole = png[start + 4 : start + 8] == b"IDAT" and end + 4 <= len(png)  # If it is cut off, Pillow says so.
        if whole and zlib.crc32(png[start + 4 : end]) != int.from_bytes(png[end : end + 4], "big"):
            raise ValueError(f"wrong checksum of the pixels at byte {start}")
        start = end + 4


def signature(files: Iterable[tuple[str, os.stat_result]], *parts: str) -> str:
    """A short hash over (relative name, stat) of files, in their order, and over whatever else makes a difference."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(os.fsencode(part) + b"\0")
    for name, stat in files:
        digest.update(os.fsencode(name) + b"\0%d %d\0" % (stat.st_size, stat.st_mtime_ns))
    return digest.hexdigest()


def existing(path: str | os.PathLike[str], wanted: str) -> pathlib.Path:
    """`path` with ~ expanded.

    Raises:
      InputError: there is nothing, or nothing that may be read; `wanted` says what should be there and where to get it.
    """
    found = expanded(path)
    try:
        found.stat()
    except OSError as error:
        raise InputError(f"{found} cannot be read ({error.strerror}): config.data.path must be {wanted}") from None
    if not os.access(found, os.R_OK | (os.X_OK if found.is_dir() else 0)):
        raise InputError(f"{found} may not be read by this user: change its permissions")
    if not (found.is_dir() or found.is_file()):
        raise InputError(f"{found} is no regular file: config.data.path must be {wanted}")
    return found


def check_inside(root: pathlib.Path, path: pathlib.Path) -> None:
    """Refuse a file of a data set that lies elsewhere, or is none.

    Who makes an archive of images chooses the links in it: one to a private picture would put that into the samples.

    Raises:
      InputError: it is a link out of the folder `root`, or a pipe or the like, which may never end.
    """
    real = leads_out(root, path)
    if real is not None:
        raise InputError(
            f"{printable(str(path))} is a link to {printable(real)}, outside of {printable(str(root))}: copy the file, "
            "or let config.data.path be the folder it lies in"
        )
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{printable(str(path))} is no regular file: remove it")


def choose_split(split: str, splits: tuple[str, ...]) -> None:
    if split not in splits:
        raise InputError(f"config.data.split = {split!r} must be one of {', '.join(splits)}")


def printable(name: str) -> str:
    """`name` without what cannot be printed: a file's name is any bytes, and may have line breaks."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
