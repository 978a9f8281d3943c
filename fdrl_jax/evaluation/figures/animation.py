"""The flow as an animated GIF or WebP: images in a grid, or points in the plane (Fig. 8, moving)."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from fdrl_jax.evaluation.figures import layout
from fdrl_jax.evaluation.figures.point_panels import frame_limits, point_panels
from fdrl_jax.types import InputError
from fdrl_jax.utils.atomic_files import atomic
from fdrl_jax.utils.plotting import Picture, Points

# More frames make a larger file, not a smoother flow.
MAX_FRAMES = 60

# Smallest width of a frame in pixels. The file grows with the area, so a frame is only as wide as its title needs.
_WIDTH = 280

# Number of colours in a frame of a GIF. There is no dithering, because a dithered image hardly compresses.
_COLOURS = 64


def frame_interval(num_steps: int, frames: int = MAX_FRAMES) -> int:
    """Return how many flow steps to leave between two frames, so that `frames` frames show all `num_steps` steps.

    The first and the last state are among the frames.
    """
    return max(1, math.ceil(num_steps / (frames - 1)))


def image_frames(
    step_counts: Int[np.ndarray, " time"], states: Float[np.ndarray, "time n h w c"], caption: str
) -> list[Picture]:
    """Draw one grid of all images for each time.

    Args:
      step_counts, states: flow steps and images in [-1, 1], from `sampling.trajectory`.
      caption: text below each frame.

    Returns:
      Frames of one size, uint8 [height, width, 3].
    """
    columns = math.ceil(math.sqrt(states.shape[1]))
    return [
        layout.framed(layout.grid(x, columns, 280), _title(step, step_counts), caption, _WIDTH)
        for step, x in zip(step_counts, states, strict=True)
    ]


def point_frames(
    step_counts: Int[np.ndarray, " time"], states: Float[np.ndarray, "time n 2"], data: Points, caption: str
) -> list[Picture]:
    """Draw one scatter plot of the particles over the data for each time, with the path of their mean so far.

    Args:
      step_counts, states: flow steps and particles, from `sampling.trajectory`.
      data: points of p. The axes fit these points and the first state, which is drawn from the prior.
      caption: text below each frame.

    Returns:
      Frames of one size, uint8 [height, width, 3].
    """
    limits = frame_limits(data, states[0])
    return [
        layout.framed(
            point_panels({"": {"data": data, "particles": x}}, limits, path=states[: i + 1].mean(axis=1), size=4.2),
            _title(step, step_counts),
            caption,
            _WIDTH,
        )
        for i, (step, x) in enumerate(zip(step_counts, states, strict=True))
    ]


def _title(step: int | np.integer, step_counts: Int[np.ndarray, " time"]) -> str:
    return f"Flow step {step} of {step_counts[-1]}"


def write_animation(path: pathlib.Path, frames: Sequence[Picture], seconds: float = 4.0, hold: float = 2.0) -> None:
    """Write frames as an animation that repeats endlessly. The file is replaced only once it is complete.

    Args:
      path: file that ends in .gif (64 colours per frame) or .webp (full colour, and smaller).
      frames: pictures of one size, uint8 [height, width, 3].
      seconds: time from the first frame to the last.
      hold: further seconds for which the last frame is shown.

    Raises:
      InputError: the path has another ending, there are no frames, or their sizes differ.
    """
    if path.suffix not in (".gif", ".webp"):
        raise InputError(f"{path} must end in .gif or .webp")
    sizes = {frame.shape for frame in frames}
    if len(sizes) != 1:
        raise InputError(
            f"an animation needs at least one frame, and frames of one size: the {len(frames)} frames have "
            f"{len(sizes)} sizes"
        )
    # Browsers slow an animation down whose frames last less than 20 ms.
    frame_time = max(20, round(1000 * seconds / len(frames)))
    durations = [frame_time] * (len(frames) - 1) + [frame_time + round(1000 * hold)]
    images = [Image.fromarray(frame) for frame in frames]
    options: dict[str, Any] = {"quality": 80, "method": 4}
    if path.suffix == ".gif":
        images = [image.quantize(_COLOURS, dither=Image.Dither.NONE) for image in images]
        options = {"optimize": True}
    with atomic(path) as temporary:
        images[0].save(temporary, save_all=True, append_images=images[1:], duration=durations, loop=0, **options)
