"""Sliced Wasserstein-1 distance (Rabin et al., 2011)."""

import numpy as np
from jaxtyping import Float

from fdrl_jax.types import InputError


def sliced_wasserstein(
    a: Float[np.ndarray, "..."], b: Float[np.ndarray, "..."], projections: int = 512, seed: int = 0
) -> float:
    """Return the mean over random directions of the Wasserstein-1 distance of the projections, in units of the data.

    Args:
      a, b: points [n, d], the same number in each set.
      projections: number of directions, uniform on the sphere.
      seed: seed of the directions.

    Raises:
      InputError: the shapes differ or are not [n, d], or there are no points.
    """
    if a.shape != b.shape or a.ndim != 2 or not a.size:
        raise InputError(f"sliced_wasserstein needs two sets of the same shape [n, d], not {a.shape} and {b.shape}")
    directions = np.random.default_rng(seed).standard_normal((a.shape[1], projections))
    directions /= np.linalg.norm(directions, axis=0)
    return float(np.abs(np.sort(a @ directions, axis=0) - np.sort(b @ directions, axis=0)).mean())
