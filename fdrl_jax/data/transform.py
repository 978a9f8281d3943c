"""Transform of a decoded image to uint8 [size, size, channels]: torchvision's resize, centre crop and padding.

They equal torchvision's transforms v1 on PIL images bit for bit (Pillow's antialiased bilinear filter and torchvision's
rounding of sizes and offsets). tests/goldens/make_torchvision_resize.py computes torchvision's results.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fdrl_jax.types import InputError

# Maximum number of pixels of a decoded or resized image. This is Pillow's own limit: 256 MiB at 3 bytes a pixel.
MAX_PIXELS = 2**28 // 3

_GREY = ("L", "1", "LA", "La")

# EXIF's tag for the orientation, and the operation that makes an image of each orientation upright.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """An image cannot be used. The message is one line that continues after the image's name: "is grey and ..."."""


class _Step(NamedTuple):
    """One step of a transform.

    Attributes:
      name: name of its function in `_APPLY`.
      height: height of the result; 0 for a step without a size.
      width: width of the result; None for a resize of the shorter side to `height` that keeps the aspect ratio.
    """

    name: str
    height: int = 0
    width: int | None = None

    def __str__(self) -> str:
        if not self.height:
            return self.name
        short = self.width is None or (self.width == self.height and self.name != "resize")
        return f"{self.name}:{self.height}" if short else f"{self.name}:{self.height}x{self.width}"


@dataclass(frozen=True)
class Transform:
    """A map from a decoded image to uint8 [image_size, image_size, channels].

    First an image is made upright (EXIF), composited on white if it has transparency, and converted to grey or RGB. (A
    WebP, which has no grey mode, becomes grey if `channels` is 1 and its channels are equal.)
    Then the steps of `spec` follow, which name torchvision's transforms and are separated by commas:

      resize:64         the shorter side to 64, keeping the aspect ratio
      resize:128x128    height x width, aspect ratio not kept
      center_crop:140   the central 140x140 (also HxW), with black around an image that is smaller
      pad:32            black on both sides up to 32x32 (also HxW)
      rgb, grey         three equal channels from a grey image; the luma (ITU-R 601) of a colour one

    Attributes:
      spec: the steps, "" for none.
      image_size: height and width that an image must have after the steps.
      channels: 1 (grey) or 3 (RGB), which an image must have after the steps: only a step "rgb" or "grey" converts.
      steps: the parsed steps of `spec`.
    """

    spec: str
    image_size: int
    channels: int
    steps: tuple[_Step, ...]

    @classmethod
    def parse(cls, spec: str, image_size: int, channels: int) -> "Transform":
        """Parse the steps of `spec`.

        Raises:
          InputError: `spec` has an unknown step, or its last step cannot produce `image_size`.
        """
        steps = tuple(_parse_step(spec, text.strip()) for text in spec.split(",")) if spec.strip() else ()
        last = next((step for step in reversed(steps) if step.height), None)
        if last and (last.height, last.width or image_size) != (image_size, image_size):
            raise InputError(
                f"config.data.transform = {spec!r} ends with {str(last)!r} and config.data.image_size is {image_size}: "
                "let the last step end in that size, or change image_size"
            )
        return cls(",".join(map(str, steps)), image_size, channels, steps)

    def __call__(self, image: Image.Image | np.ndarray) -> UInt8[np.ndarray, "image_size image_size channels"]:
        """Transform a decoded PIL image, or uint8 [h, w, c] with c = 1, 2 (grey, alpha), 3 or 4 (RGB, alpha).

        Raises:
          ImageError: the image has another size or number of channels, or is not 8-bit.
        """
        if isinstance(image, np.ndarray):
            _check_array(image)
            if not self.steps and image.shape == (self.image_size, self.image_size, self.channels):
                return image
            image = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        may_be_grey = self.channels == 1 and getattr(image, "format", None) == "WEBP"
        image = _grey_or_rgb(_upright(image))
        if may_be_grey and len({band.tobytes() for band in image.split()}) == 1:
            image = image.getchannel(0)  # WebP has no grey mode: a grey image is stored with three equal channels.
        for step in self.steps:
            image = _APPLY[step.name](image, step)
        channels = len(image.getbands())
        if channels != self.channels:
            kind, step_name = ("grey", "rgb") if channels == 1 else ("colour", "grey")
            raise ImageError(
                f"is {kind} and config.data.channels = {self.channels}: set that to {channels}, or convert such "
                f"images with a step '{step_name}' in config.data.transform"
            )
        if image.size != (self.image_size, self.image_size):
            raise ImageError(self._size_message(image.height, image.width))
        return np.asarray(image).reshape(self.image_size, self.image_size, self.channels)

    def _size_message(self, height: int, width: int) -> str:
        size, before = self.image_size, f"{self.spec}," if self.spec else ""
        if any(step.height for step in self.steps):
            advice = f"'{before}center_crop:{size}' cuts out the middle"
        elif height == width:
            advice = f"'{before}resize:{size}' scales it"
            advice += f", '{before}pad:{size}' puts black around it" if height < size else ""
        else:
            advice = f"'{before}resize:{size},center_crop:{size}' keeps its aspect ratio, "
            advice += f"'{before}resize:{size}x{size}' does not"
        after = f" after {self.spec!r}" if self.spec else ""
        return (
            f"is {height}x{width} (height x width){after} and config.data.image_size is {size}: "
            f"as config.data.transform, {advice}"
        )


def _parse_step(spec: str, text: str) -> _Step:
    match = re.fullmatch(r"(resize|center_crop|pad):([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", text, re.ASCII)
    if text in ("rgb", "grey"):
        return _Step(text)
    if not match:
        raise InputError(
            f"config.data.transform = {spec!r} has a step {text!r}: steps are resize:64 (shorter side), resize:64x64, "
            "center_crop:64, pad:64 (height x width, or one number for both), rgb and grey, separated by commas"
        )
    name, height, width = match[1], int(match[2]), int(match[3]) if match[3] else None
    return _Step(name, height, width if name == "resize" else width or height)


def _check_array(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 2, 3, 4) or 0 in image.shape:
        raise ImageError(
            f"is {image.dtype} {list(image.shape)} and not uint8 [height, width, channels], 1 to 4 channels"
        )


def _upright(image: Image.Image) -> Image.Image:
    try:
        method = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # For damaged EXIF Pillow raises nearly any type. The image is then taken as upright.
        method = None
    return image if method is None else image.transpose(method)


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    """Convert to mode L or RGB, with transparency composited on white."""
    if image.mode in ("L", "RGB") and not image.has_transparency_data:
        return image
    if image.mode.startswith(("I", "F")):
        raise ImageError(
            f"has {'float' if image.mode == 'F' else '16 or 32 bit'} pixels (mode {image.mode}): make it 8 bit"
        )
    grey = image.mode in _GREY
    if not image.has_transparency_data:
        return image.convert("L" if grey else "RGB")
    image = image.convert("LA" if grey else "RGBA")
    background = Image.new("L" if grey else "RGB", image.size, "white")
    background.paste(image.convert(background.mode), mask=image.getchannel("A"))
    return background


def _resize(image: Image.Image, step: _Step) -> Image.Image:
    """Resize as torchvision.transforms.functional.resize does."""
    if step.width is None:
        short, long = sorted(image.size)
        longer = int(step.height * long / short)
        width, height = (step.height, longer) if image.width <= image.height else (longer, step.height)
    else:
        height, width = step.height, step.width
    if height * width > MAX_PIXELS:
        raise ImageError(f"is {image.height}x{image.width}, which '{step}' would make {height}x{width}: crop it first")
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _center_crop(image: Image.Image, step: _Step) -> Image.Image:
    """Crop as torchvision.transforms.functional.center_crop does."""
    assert step.width is not None
    image = _padded(image, max(step.height, image.height), max(step.width, image.width))
    top, left = round((image.height - step.height) / 2), round((image.width - step.width) / 2)
    return image.crop((left, top, left + step.width, top + step.height))


def _pad(image: Image.Image, step: _Step) -> Image.Image:
    assert step.width is not None
    if image.height > step.height or image.width > step.width:
        raise ImageError(f"is {image.height}x{image.width} and too large for '{step}': resize or crop it first")
    return _padded(image, step.height, step.width)


def _padded(image: Image.Image, height: int, width: int) -> Image.Image:
    """Add black on both sides; an odd pixel goes to the right and the bottom, as in torchvision's center_crop."""
    if image.size == (width, height):
        return image
    padded = Image.new(image.mode, (width, height))
    padded.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return padded


def _convert(image: Image.Image, step: _Step) -> Image.Image:
    return image.convert("RGB" if step.name == "rgb" else "L")


_APPLY = {"resize": _resize, "center_crop": _center_crop, "pad": _pad, "rgb": _convert, "grey": _convert}
