"""Training data. A batch is a function of (seed, step): no iterator state is kept, so resuming needs none.

To add a data set: write a function that returns a `Dataset`, export it here, give its fields in `schema.BY_NAME` and a
branch in `builders` that calls it.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from fdrl_jax.data.arrays import ArrayDataset as ArrayDataset
from fdrl_jax.data.arrays import digits as digits
from fdrl_jax.data.points import PointDataset as PointDataset
from fdrl_jax.data.points import eight_gaussians as eight_gaussians
from fdrl_jax.data.points import gaussian as gaussian
from fdrl_jax.data.points import swissroll as swissroll
from fdrl_jax.data.points import twentyfive_gaussians as twentyfive_gaussians


@runtime_checkable
class Dataset(Protocol):
    """Where batches come from."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Of one example: [H, W, C] for images, [D] for points."""
        ...

    def batch(self, seed: int, step: int, size: int) -> np.ndarray:
        """[size, *event]: uint8 images, or float32 points; always the same for the same arguments."""
        ...
