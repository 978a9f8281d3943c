"""Search for nearest neighbours by Euclidean distance, in bounded memory."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

from fdrl_jax.evaluation.features import Examples, Features
from fdrl_jax.types import InputError

# Upper bounds of one comparison: values of the references, references, queries. No array exceeds 64 MB of float64.
_MAX_VALUES = 2**23
_MAX_REFERENCES = 2**13
_MAX_QUERIES = 2**10


def squared_distances(a: Num[np.ndarray, "n d"], b: Num[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """Return |a_i - b_j|^2 in float64, never below 0; exact for whole numbers such as uint8 pixels."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    squares = -2 * (a @ b.T)
    squares += np.square(a).sum(axis=1)[:, None]
    squares += np.square(b).sum(axis=1)
    return np.maximum(squares, 0, out=squares)


class Neighbours(NamedTuple):
    """The nearest references of each query, the nearest first.

    Attributes:
      distances: Euclidean distances, float64 [n, k].
      indices: indices of the references, [n, k].
    """

    distances: Float[np.ndarray, "n k"]
    indices: Int[np.ndarray, "n k"]


def nearest(
    queries: Examples,
    references: Examples,
    k: int,
    features: Features,
    mirrored: bool = False,
    itself: Int[np.ndarray, " n"] | None = None,
) -> Neighbours:
    """Return the k nearest references of each query in a feature space.

    The references are read and mapped to features once, block by block; the features of all queries stay in memory.

    Args:
      queries, references: examples that `features.apply` accepts. `references` may be a memory map.
      k: number of references to return for each query.
      features: the feature space.
      mirrored: True to take, for each reference image, the smaller of the distances to it and to its mirror image.
      itself: for each query, the index of the reference to ignore, or -1 to ignore none.

    Raises:
      InputError: k is below 1, or above the number of references that are not ignored.
    """
    available = len(references) - (itself is not None)
    if not 1 <= k <= available:
        raise InputError(f"k = {k} nearest neighbours: k must be at least 1 and at most {available} for these images")
    x = features.apply(queries)
    block_size = max(1, min(_MAX_REFERENCES, _MAX_VALUES // max(1, x.shape[1])))
    best = Neighbours(np.full((len(x), k), np.inf), np.full((len(x), k), -1))
    for start in range(0, len(references), block_size):
        block = np.asarray(references[start : start + block_size])
        versions = [features.apply(block), *([features.apply(block[:, :, ::-1])] if mirrored else [])]
        for first in range(0, len(x), _MAX_QUERIES):
            part = slice(first, first + _MAX_QUERIES)
            squares = squared_distances(x[part], versions[0])
            for version in versions[1:]:
                np.minimum(squares, squared_distances(x[part], version), out=squares)
            if itself is not None:
                column = itself[part] - start
                rows = ((column >= 0) & (column < len(block))).nonzero()[0]
                squares[rows, column[rows]] = np.inf
            candidates = np.concatenate([best.distances[part], squares], axis=1)
            indices = np.concatenate(
                [best.indices[part], np.broadcast_to(start + np.arange(len(block)), squares.shape)], axis=1
            )
            kept = np.argpartition(candidates, k - 1, axis=1)[:, :k]
            distances, indices = (np.take_along_axis(a, kept, axis=1) for a in (candidates, indices))
            order = np.lexsort((indices, distances), axis=1)
            best.distances[part] = np.take_along_axis(distances, order, axis=1)
            best.indices[part] = np.take_along_axis(indices, order, axis=1)
    return Neighbours(np.sqrt(best.distances), best.indices)
