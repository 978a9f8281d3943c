"""Metrics of k nearest neighbours: precision, recall, density and coverage.

Precision and recall: Kynkaanniemi et al., NeurIPS 2019, arXiv 1904.06991.
Density and coverage: Naeem et al., ICML 2020, arXiv 2002.09797.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64, Num

from fdrl_jax.types import InputError

# Number of distances in memory at a time: 256 MiB of float64.
_MAX_DISTANCES = 2**25


class PrecisionRecall(NamedTuple):
    """Precision and recall, both in [0, 1].

    Attributes:
      precision: fraction of samples in the union of the data's balls; see `Neighbourhoods`.
      recall: fraction of data examples in the union of the samples' balls.
    """

    precision: float
    recall: float


class Neighbourhoods(NamedTuple):
    """Counts and flags for every example, whose means are the metrics of k nearest neighbours.

    A ball is centred on a member of a set, and its radius is the Euclidean distance to the k-th nearest other member.

    Attributes:
      balls: for every sample, the number of the data's balls that contain it.
      recalled: for every data example, True where a sample's ball contains it.
      covered: for every data example, True where its own ball contains a sample.
      k: number of the neighbour that sets the radius.
    """

    balls: Int64[np.ndarray, " m"]
    recalled: Bool[np.ndarray, " n"]
    covered: Bool[np.ndarray, " n"]
    k: int

    def terms(self) -> dict[str, Float[np.ndarray, "_"]]:
        """Return one number per example for each metric; their means are precision, recall, density and coverage."""
        return {
            "precision": (self.balls > 0).astype(np.float64),
            "recall": self.recalled.astype(np.float64),
            "density": self.balls / self.k,
            "coverage": self.covered.astype(np.float64),
        }


def neighbourhoods(data: Num[np.ndarray, "n *event"], samples: Num[np.ndarray, "m *event"], k: int) -> Neighbourhoods:
    """Return which examples are in which balls, from the distances of all pairs.

    Args:
      data, samples: the two sets; examples are flattened.
      k: number of the neighbour; the papers use 3 for precision and recall, 5 for density and coverage.

    Raises:
      InputError: `k` is less than 1, or a set has no more than `k` examples.
    """
    if k < 1 or min(len(data), len(samples)) <= k:
        raise InputError(
            f"k-nearest-neighbour metrics with k = {k} need k of at least 1 and more than k examples in each set, not "
            f"{len(data)} and {len(samples)}"
        )
    # Distances are computed as differences of squares, and the squares of smaller numbers lose fewer digits.
    centre = data.reshape(len(data), -1).mean(axis=0, dtype=np.float64)
    data, samples = (x.reshape(len(x), -1) - centre for x in (data, samples))
    data_radii, sample_radii = (_squared_radii(x, k) for x in (data, samples))
    balls = np.zeros(len(samples), np.int64)
    recalled, covered = np.zeros(len(data), bool), np.zeros(len(data), bool)
    for rows, squares in _distances(data, samples):
        inside = squares <= data_radii[rows, None]
        balls += inside.sum(axis=0)
        covered[rows] = inside.any(axis=1)
        recalled[rows] = (squares <= sample_radii).any(axis=1)
    return Neighbourhoods(balls, recalled, covered, k)


def precision_recall(
    data: Num[np.ndarray, "n *event"], samples: Num[np.ndarray, "m *event"], k: int = 3
) -> PrecisionRecall:
    """Return the fraction of each set in the union of the other set's balls; see `neighbourhoods`."""
    terms = neighbourhoods(data, samples, k).terms()
    return PrecisionRecall(float(terms["precision"].mean()), float(terms["recall"].mean()))


def _distances(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]
) -> Iterator[tuple[slice, Float[np.ndarray, "rows m"]]]:
    """Yield slices of the rows of `a`, each with the squared distances of these rows to all rows of `b`."""
    step = max(1, _MAX_DISTANCES // len(b))
    b_squares = np.square(b).sum(axis=1)
    for first in range(0, len(a), step):
        rows = slice(first, first + step)
        squares = np.square(a[rows]).sum(axis=1)[:, None] + b_squares - 2 * a[rows] @ b.T
        yield rows, np.maximum(squares, 0)


def _squared_radii(x: Float[np.ndarray, "n d"], k: int) -> Float[np.ndarray, " n"]:
    """Return the squared distance of each row to the k-th nearest other row."""
    # Entry 0 of each sorted row is the distance of the row to itself.
    return np.concatenate([np.partition(squares, k, axis=1)[:, k] for _, squares in _distances(x, x)])
