"""k-nearest-neighbour precision and recall (Kynkaanniemi et al., NeurIPS 2019, arXiv 1904.06991)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from fdrl_jax.types import InputError


class PrecisionRecall(NamedTuple):
    """Both in [0, 1]: the share of samples that lie among the data, and of data that lie among the samples."""

    precision: float
    recall: float


def precision_recall(
    data: Float[np.ndarray, "n *event"], samples: Float[np.ndarray, "m *event"], k: int = 3
) -> PrecisionRecall:
    """Share of each set inside the union of the other's balls, by Euclidean distance.

    A ball is centred on a member of a set and reaches its k-th nearest other member. Compares all pairs:
    8 n m bytes of memory.

    Args:
      data, samples: flattened before comparing.
      k: the paper uses 3.

    Raises:
      InputError: a set has no k-th neighbour.
    """
    if k < 1 or min(len(data), len(samples)) <= k:
        raise InputError(f"precision_recall with k = {k} needs more than {k} examples: {len(data)} and {len(samples)}")
    data, samples = (x.reshape(len(x), -1).astype(np.float64) for x in (data, samples))
    between = cdist(data, samples)
    precision = (between <= _radius(data, k)[:, None]).any(axis=0).mean()
    recall = (between <= _radius(samples, k)[None]).any(axis=1).mean()
    return PrecisionRecall(float(precision), float(recall))


def _radius(x: Float[np.ndarray, "n d"], k: int) -> Float[np.ndarray, " n"]:
    # Entry 0 of each sorted row is the distance to itself.
    return np.partition(cdist(x, x), k, axis=1)[:, k]
