"""The inputs that several figures of a run share: its model, its data, samples and trajectories."""

import dataclasses
import pathlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from fdrl_jax import data
from fdrl_jax.evaluation.features import Features
from fdrl_jax.evaluation.figures.animation import frame_interval
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import Model
from fdrl_jax.inference import sampling
from fdrl_jax.utils.plotting import Picture, save_picture

# No run reaches this training step, so its batch of points was never trained on.
UNSEEN_STEP = 10**8

# Number of images in a grid, and of points in a plot.
NUM_IMAGES, NUM_POINTS = 100, 2000


@dataclasses.dataclass
class FigureInputs:
    """A run with everything that several figures need; samples and data are computed at their first use and kept.

    Attributes:
      workdir: the run's directory.
      model: the run's model.
      out: folder of the figures.
      seed: seed of all samples.
      num_samples: number of samples to measure.
      batch_size: number of samples that are flowed at a time; None for the default.
      spaces: feature spaces of Fig. 12.
      progress: True to show progress bars.
    """

    workdir: pathlib.Path
    model: Model
    out: pathlib.Path
    seed: int
    num_samples: int
    batch_size: int | None
    spaces: Sequence[Features]
    progress: bool

    @property
    def is_image(self) -> bool:
        """True if the data are images."""
        return self.model.experiment.is_image

    def draw(self, count: int, num_steps: int | None = None) -> np.ndarray:
        """Return the first `count` samples of the seed, after `num_steps` flow steps (all by default)."""
        return sampling.sample(self.model, self.seed, count, num_steps, self.batch_size, self.progress)

    @cached_property
    def samples(self) -> np.ndarray:
        """Samples, at least as many as any figure needs. Sample i does not depend on their number."""
        return self.draw(max(self.num_samples, NUM_IMAGES if self.is_image else NUM_POINTS))

    @cached_property
    def draws(self) -> np.ndarray:
        """The prior draws from which the first of `samples` start."""
        return self.draw(NUM_IMAGES if self.is_image else len(self.samples), num_steps=0)

    @cached_property
    def dataset(self) -> data.Dataset:
        """The training data."""
        return builders.dataset(self.model.experiment, self.progress)

    @property
    def images(self) -> np.ndarray:
        """The training images, uint8 [N, H, W, C]."""
        assert isinstance(self.dataset, data.ArrayDataset)
        return self.dataset.examples

    @cached_property
    def points(self) -> np.ndarray:
        """Points of the data that the model was not trained on, as many as `samples`."""
        return self.dataset.batch(self.seed, UNSEEN_STEP, len(self.samples))

    def trajectory(self, count: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the flow steps and states of the first `count` samples at no more than `frames` times."""
        every = frame_interval(self.model.experiment.flow_length(), frames)
        return sampling.trajectory(
            self.model, self.seed, count, every, batch_size=self.batch_size, progress=self.progress
        )

    def save(self, name: str, picture: Picture) -> pathlib.Path:
        """Write a picture to OUT/NAME.png and return that path."""
        path = self.out / f"{name}.png"
        save_picture(path, picture)
        return path
