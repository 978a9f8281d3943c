"""Decoding of PNG, JPEG and WebP bytes, with checks for damage and for images that are too large."""

import io
import zlib

from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from fdrl_jax.data.readers.messages import one_line
from fdrl_jax.data.transform import MAX_PIXELS, ImageError


def decode(data: bytes) -> Image.Image:
    """Decode an image from PNG, JPEG or WebP bytes; of an animation, the first frame.

    Raises:
      ImageError: the bytes are no such image, are truncated or damaged, or the image has more than `MAX_PIXELS` pixels.
    """
    # Image.open only warns of large images, and a warning cannot be turned into an error in one thread alone.
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
    except Exception as error:  # For a damaged file Pillow raises nearly any type.
        raise ImageError(f"is damaged ({one_line(error)}): restore the file") from None
    _check_size(*size)
    return image


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"is {height}x{width} (height x width), more than {MAX_PIXELS} pixels: make it smaller")


def _check_canvas(webp: bytes) -> None:
    """Check the canvas size of an extended WebP, for the whole of which its decoder allocates memory on opening."""
    if webp[12:16] == b"VP8X" and len(webp) >= 30:
        _check_size(1 + int.from_bytes(webp[24:27], "little"), 1 + int.from_bytes(webp[27:30], "little"))


def _check_pixels(png: bytes) -> None:
    """Compare the checksums of the compressed pixels, which Pillow does not check.

    Raises:
      ValueError: a checksum is wrong.
    """
    start = 8
    while start + 12 <= len(png):
        end = start + 8 + int.from_bytes(png[start : start + 4], "big")
        complete = png[start + 4 : start + 8] == b"IDAT" and end + 4 <= len(png)  # Pillow reports a truncated chunk.
        if complete and zlib.crc32(png[start + 4 : end]) != int.from_bytes(png[end : end + 4], "big"):
            raise ValueError(f"wrong checksum of the pixels at byte {start}")
        start = end + 4
