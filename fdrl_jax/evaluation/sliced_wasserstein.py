"""Sliced Wasserstein-1 distance (Rabin et al., 2011)."""

import numpy as np
from jaxtyping import Float

from fdrl_jax.types import InputError


def sliced_wasserstein(
    a: Float[np.ndarray, "..."], b: Float[np.ndarray, "..."], projections: int = 512, seed: int = 0
) -> float:
    """Mean over random directions of the 1-D Wasserstein-1 distance of the projections, in units of the data.

    Args:
      a, b: points [n, d], as many in each.
      projections: directions, uniform on the sphere, drawn from `seed`.

    Raises:
      InputError: the shapes differ, or there are no points.
    """
    if a.shape != b.shape or a.ndim != 2 or not a.size:
        raise InputError(f"sliced_wasserstein compares two sets of one shape [n, d]: {a.shape} and {b.shape}")
    directions = np.random.default_rng(seed).standard_normal((a.shape[1], projections))
    directions /= np.linalg.norm(directions, axis=0)
    return float(np.abs(np.sort(a @ directions, axis=0) - np.sort(b @ directions, axis=0)).mean())
