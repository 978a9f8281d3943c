"""Endless 2-D data sets, which draw new points for every batch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "n 2"]


@dataclass(frozen=True)
class PointDataset:
    """Batches drawn from a distribution in the plane.

    Attributes:
      draw: function (count, generator) -> points [count, 2], float64 or float32.
    """

    draw: Callable[[int, np.random.Generator], Points]

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (2,)

    def batch(self, seed: int, step: int, size: int, rows: slice = slice(None)) -> Points:
        """Return the `rows` of the batch of `step`, [size, 2] float32; batches of different steps are independent."""
        return self.draw(size, np.random.default_rng([seed, step])).astype(np.float32)[rows]


def gaussian(mean: tuple[float, float], variance: float) -> PointDataset:
    """N(mean, variance I): the targets of Fig. 2 and 3 of arXiv 2303.03714."""
    return PointDataset(lambda n, generator: mean + np.sqrt(variance) * generator.standard_normal((n, 2)))


def swissroll(noise: float = 0.25) -> PointDataset:
    """Coordinates 0 and 2 of scikit-learn's Swiss roll, divided by 7.5 (Fig. 10 and the authors' code)."""
    from sklearn.datasets import make_swiss_roll  # Imported here because it takes a second, which only this set needs.

    def draw(n: int, generator: np.random.Generator) -> Points:
        points, _ = make_swiss_roll(n, noise=noise, random_state=int(generator.integers(2**32)))
        return points[:, [0, 2]] / 7.5

    return PointDataset(draw)


def eight_gaussians() -> PointDataset:
    """Eight modes on a circle of radius 2 with standard deviation 0.02, all divided by 1.414 (the authors' code)."""
    angles = np.arange(8) * np.pi / 4
    return _mixture(2 * np.stack([np.cos(angles), np.sin(angles)], axis=1), sd=0.02, scale=1.414)


def twentyfive_gaussians() -> PointDataset:
    """A 5 x 5 grid of modes from -4 to 4 with standard deviation 0.05, all divided by 2.828 (the authors' code)."""
    axis = np.linspace(-4, 4, 5)
    return _mixture(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2), sd=0.05, scale=2.828)


def _mixture(centres: Points, sd: float, scale: float) -> PointDataset:
    def draw(n: int, generator: np.random.Generator) -> Points:
        chosen = centres[generator.integers(len(centres), size=n)]
        return (chosen + sd * generator.standard_normal((n, 2))) / scale

    return PointDataset(draw)
