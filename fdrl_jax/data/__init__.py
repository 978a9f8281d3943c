"""Training data. A batch is a function of (seed, step): no iterator state is kept, so resuming needs none.

Images in files go `readers` (what is on disk) -> `transform` -> `cache` (prepared once) -> `ArrayDataset`.
To add a format: a reader, its fields in `schema.BY_NAME`, its name in `builders._source`. To add any other data set: a
function that returns a `Dataset`, exported here, its fields, and its branch in `builders.dataset`.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from fdrl_jax.data import readers as readers
from fdrl_jax.data.arrays import ArrayDataset as ArrayDataset
from fdrl_jax.data.arrays import digits as digits
from fdrl_jax.data.arrays import digits_labels as digits_labels
from fdrl_jax.data.cache import Cached as Cached
from fdrl_jax.data.cache import Source as Source
from fdrl_jax.data.cache import prepare as prepare
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
    """Where batches come from."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Of one example: [H, W, C] for images, [D] for points."""
        ...

    def batch(self, seed: int, step: int, size: int, rows: slice = slice(None)) -> np.ndarray:
        """[size, *event]: uint8 images, or float32 points; always the same for the same arguments.

        Of it only `rows`, where a host needs no more.
        """
        ...
