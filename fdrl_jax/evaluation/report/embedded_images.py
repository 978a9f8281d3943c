"""Pictures as data URIs, for pages without other files; large ones are compressed again."""

import base64
import dataclasses
import io
import pathlib

from PIL import Image, ImageSequence

from fdrl_jax.types import InputError

# Largest size in bytes of a file that is embedded unchanged, and largest side in pixels of one that is not.
STILL_LIMIT = 200_000
ANIMATION_LIMIT = 1_000_000
SIDE_LIMIT = 1600


@dataclasses.dataclass(frozen=True)
class Embedded:
    """A picture as part of a page.

    Attributes:
      uri: data URI of the picture, `data:image/...;base64,...`.
      width, height: size of the file's picture in pixels, before any reduction.
      still: data URI of an animation's last frame, for readers who prefer no motion; None for a still picture.
    """

    uri: str
    width: int
    height: int
    still: str | None = None


def embed(path: pathlib.Path) -> Embedded:
    """Return the picture in `path` as a data URI.

    A small file is embedded unchanged. A larger one is converted to WebP: without loss if that is small enough, else
    with loss.

    Raises:
      InputError: the file is not a picture, or damaged.
    """
    try:
        with Image.open(path) as image:
            size = image.size
            frames = [frame.convert("RGBA") for frame in ImageSequence.Iterator(image)]
            durations = [frame.info.get("duration", 100) for frame in ImageSequence.Iterator(image)]
            file_format = (image.format or "").lower()
        data = path.read_bytes()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not a picture that can be read ({reason}): restore or remove it") from None
    animated = len(frames) > 1
    if len(data) > (ANIMATION_LIMIT if animated else STILL_LIMIT):
        file_format, data = "webp", _webp(frames, durations)
    still = _uri("webp", _webp(frames[-1:], [])) if animated else None
    return Embedded(_uri(file_format, data), *size, still)


def _uri(file_format: str, data: bytes) -> str:
    return f"data:image/{file_format};base64,{base64.b64encode(data).decode()}"


def _webp(frames: list[Image.Image], durations: list[int]) -> bytes:
    """Return a WebP file: lossless for a single frame of at most `STILL_LIMIT` bytes, else lossy and reduced in size.

    Args:
      frames: pictures of one size.
      durations: milliseconds of each frame of an animation.
    """

    def encode(images: list[Image.Image], **options: object) -> bytes:
        file = io.BytesIO()
        animation = {"save_all": True, "append_images": images[1:], "duration": durations, "loop": 0}
        images[0].save(file, "WEBP", method=4, **options, **(animation if len(images) > 1 else {}))
        return file.getvalue()

    if len(frames) == 1:
        data = encode(frames, lossless=True)
        if len(data) <= STILL_LIMIT:
            return data
    scale = min(1.0, SIDE_LIMIT / max(frames[0].size))
    if scale < 1:
        size = (round(frames[0].width * scale), round(frames[0].height * scale))
        frames = [frame.resize(size, Image.Resampling.LANCZOS) for frame in frames]
    return encode(frames, quality=85)
