"""Feature vectors of sets of examples, computed a batch at a time."""

from collections.abc import Iterable, Iterator

import numpy as np

from fdrl_jax.evaluation.features import Features
from fdrl_jax.utils.pixel_scaling import to_uint8

# Number of examples that are mapped to features, or added to sums, at a time.
_BATCH_SIZE = 256


def chunks(x: np.ndarray) -> Iterator[np.ndarray]:
    """Return an iterator over the rows of `x` in batches of at most 256."""
    return (x[first : first + _BATCH_SIZE] for first in range(0, len(x), _BATCH_SIZE))


def to_vectors(batches: Iterable[np.ndarray], spaces: list[Features]) -> dict[str, np.ndarray]:
    """Return the feature vectors of examples in every space, by the name of the space.

    Args:
      batches: examples as floats: images [n, H, W, C] in [-1, 1], or points [n, D].
      spaces: feature spaces; images are rounded to uint8 for those that take uint8.
    """
    vectors: dict[str, list[np.ndarray]] = {space.name: [] for space in spaces}
    for batch in batches:
        for space in spaces:
            is_image = batch.ndim == 4
            vectors[space.name].append(space.apply(to_uint8(batch) if is_image and space.takes == "uint8" else batch))
    return {name: np.concatenate(parts) for name, parts in vectors.items()}
