"""Animations: their timing in the file, files that are replaced as a whole, and the number of frames.

Covers: `figures.animation`.
"""

import numpy as np
import pytest
from PIL import Image

from fdrl_jax.evaluation import figures
from fdrl_jax.types import InputError

PICTURE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_an_animation_loops_and_holds_its_last_frame(suffix, tmp_path):
    frames = [np.full((20, 30, 3), value, np.uint8) for value in (0, 100, 200)]
    path = tmp_path / f"a.{suffix}"
    figures.write_animation(path, frames, seconds=0.6, hold=1.5)
    durations = []
    with Image.open(path) as image:
        assert (image.n_frames, image.info["loop"], image.size) == (3, 0, (30, 20))
        for i, value in enumerate((0, 100, 200)):
            image.seek(i)
            image.load()
            durations.append(image.info["duration"])
            assert np.abs(np.asarray(image.convert("RGB"), int) - value).max() <= 2
    assert durations == [200, 200, 1700]


@pytest.mark.parametrize("frames", [[], [PICTURE, PICTURE[:-1]]])
def test_an_old_file_is_kept_if_the_frames_are_refused(frames, tmp_path):
    path = tmp_path / "a.gif"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="frames of one size"):
        figures.write_animation(path, frames)
    assert path.read_bytes() == b"old"


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.gif or \.webp"):
        figures.write_animation(tmp_path / "a.mp4", [PICTURE])


@pytest.mark.parametrize("num_steps", [0, 1, 58, 59, 60, 400])
def test_there_are_at_most_60_frames(num_steps):
    every = figures.frame_interval(num_steps)
    assert len({*range(0, num_steps, every), num_steps}) <= 60
    assert every == 1 or len({*range(0, num_steps, every), num_steps}) > 30
