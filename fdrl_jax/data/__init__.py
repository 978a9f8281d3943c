"""Training data. A batch is a function of (seed, step): no iterator state is kept, so resuming a run needs none.

Images in files pass through `readers` (files to images), `transform` (size and channels), `image_cache` (done once) and
`batch_sampler` (batches).
To add a file format: write a reader, and add its fields to `schema.BY_NAME` and its name to `_source` in
`experiment/builders/datasets.py`. To add any other data set: write a function that returns a `Dataset`, export it here,
and add its fields and its branch in `dataset` of the same module.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from fdrl_jax.data import readers as readers
from fdrl_jax.data.batch_sampler import ArrayDataset as ArrayDataset
from fdrl_jax.data.digits import digits as digits
from fdrl_jax.data.digits import digits_labels as digits_labels
from fdrl_jax.data.image_cache import Cached as Cached
from fdrl_jax.data.image_cache import Source as Source
from fdrl_jax.data.image_cache import prepare as prepare
from fdrl_jax.data.points import PointDataset as PointDataset
from fdrl_jax.data.points import eight_gaussians as eight_gaussians
from fdrl_jax.data.points import gaussian as gaussian
from fdrl_jax.data.points import swissroll as swissroll
from fdrl_jax.data.points import twentyfive_gaussians as twentyfive_gaussians
from fdrl_jax.data.prefetch import prefetch as prefetch
from fdrl_jax.data.subset import Subset as Subset
from fdrl_jax.data.subset import every_nth as every_nth
from fdrl_jax.data.subset import of_class as of_class
from fdrl_jax.data.transform import Transform as Transform


@runtime_checkable
class Dataset(Protocol):
    """The interface of a data set: a source of batches."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example: [H, W, C] for images, [D] for points."""
        ...

    def batch(self, seed: int, step: int, size: int, rows: slice = slice(None)) -> np.ndarray:
        """Return the `rows` of the batch of `step`, [size, *event]: uint8 images or float32 points.

        The same arguments always give the same batch. A host passes the rows that its devices need.
        """
        ...
