"""The page around a picture: a title above it, a caption below it, labels over its columns."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Float
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont

from fdrl_jax.utils import plotting
from fdrl_jax.utils.plotting import Picture

_TITLE_SIZE, _TEXT_SIZE, _LABEL_SIZE = 17, 13, 12
_MARGIN = 12
# A caption in a narrower column is hard to read.
_MIN_WIDTH = 560
_GREY = (70, 70, 70)


def framed(picture: Picture, title: str, caption: str = "", narrowest: int = _MIN_WIDTH) -> Picture:
    """Return a white page with `picture`, unchanged, in the middle, a wrapped title above and a wrapped caption below.

    Args:
      picture: uint8 [height, width, 3].
      title: text above the picture, in bold.
      caption: text below the picture; "" for none.
      narrowest: smallest width of the page without its margins, in pixels.
    """
    width = max(picture.shape[1], narrowest)
    left = (width - picture.shape[1]) // 2
    body = np.pad(picture, ((0, 0), (left, width - picture.shape[1] - left), (0, 0)), constant_values=255)
    rows = [_text(title, width, _TITLE_SIZE, bold=True), _blank(8, width), body]
    if caption:
        rows += [_blank(8, width), _text(caption, width, _TEXT_SIZE, colour=_GREY)]
    page = np.concatenate([row for row in rows if row.size])
    return np.pad(page, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), constant_values=255)


def grid(images: Float[np.ndarray, "n h w c"], columns: int, width: int = 640) -> Picture:
    """Return `plotting.image_grid` of the images, enlarged by a whole factor to about `width` pixels."""
    return enlarged(plotting.image_grid(images, columns), width)


def enlarged(picture: Picture, width: int) -> Picture:
    """Repeat each pixel so often that the picture is about `width` pixels wide; a wider picture is not changed."""
    scale = max(1, round(width / picture.shape[1]))
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def column_labels(width: int, labels: Sequence[str]) -> Picture:
    """Return a strip `width` pixels wide, divided into equal columns, with one label centred in each."""
    strip = Image.new("RGB", (width, _LABEL_SIZE + 8), "white")
    draw = ImageDraw.Draw(strip)
    for i, label in enumerate(labels):
        draw.text(((i + 0.5) * width / len(labels), 2), label, "black", _font(_LABEL_SIZE), anchor="ma")
    return np.array(strip)


def side_by_side(panels: dict[str, Picture], gap: int = 24) -> Picture:
    """Return pictures of equal height in one row, each with its name above it.

    Args:
      panels: name -> picture.
      gap: number of white pixels between two pictures.
    """
    parts: list[Picture] = []
    for name, panel in panels.items():
        if parts:
            parts.append(_blank(parts[0].shape[0], gap))
        parts.append(np.concatenate([column_labels(panel.shape[1], [name]), panel]))
    return np.concatenate(parts, axis=1)


def _blank(height: int, width: int) -> Picture:
    return np.full((height, width, 3), 255, np.uint8)


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    # This font is installed with matplotlib, so every machine has it.
    return ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")), size)


def _text(text: str, width: int, size: int, bold: bool = False, colour: tuple[int, int, int] = (0, 0, 0)) -> Picture:
    """Return text on white, wrapped between words at `width` pixels; a newline starts a new line."""
    font, lines = _font(size, bold), []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    line_height = round(1.4 * size)
    page = Image.new("RGB", (width, line_height * len(lines)), "white")
    draw = ImageDraw.Draw(page)
    for i, line in enumerate(lines):
        draw.text((0, i * line_height), line, colour, font)
    return np.array(page)
