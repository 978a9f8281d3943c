"""Wasserstein-2 distance between two Gaussians (Dowson and Landau, 1982; Olkin and Pukelsheim, 1982)."""

import numpy as np
from jaxtyping import Float

from fdrl_jax.priors.gaussian import Gaussian
from fdrl_jax.priors.low_rank import LowRankGaussian
from fdrl_jax.types import InputError


def bures_wasserstein(
    mean_a: Float[np.ndarray, "..."],
    factor_a: Float[np.ndarray, "..."],
    mean_b: Float[np.ndarray, "..."],
    factor_b: Float[np.ndarray, "..."],
) -> float:
    """Compute the Wasserstein-2 distance between N(mean_a, A A^T) and N(mean_b, B B^T), in units of the data.

    W2^2 = |mean_a - mean_b|^2 + |A|^2 + |B|^2 - 2 |A^T B|_* with Frobenius norms and a sum of singular values, which
    equals the usual tr (S_a + S_b - 2 (S_a^(1/2) S_b S_a^(1/2))^(1/2)) for every choice of factors. It is computed in
    float64, and from factors because the square root of a product of covariances loses half the digits of small
    eigenvalues. Distances below 1e-7 of |A| are rounding errors. The time grows as d^3; d = 4096 is practical.

    Args:
      mean_a, mean_b: the means, of one shape [*event] with d values.
      factor_a, factor_b: matrices [d, j] and [d, k] with A A^T and B B^T the covariances, such as Cholesky factors.

    Raises:
      InputError: the shapes do not fit.
    """
    d = mean_a.size
    if mean_a.shape != mean_b.shape or any(x.ndim != 2 or len(x) != d for x in (factor_a, factor_b)):
        shapes = ", ".join(str(x.shape) for x in (mean_a, factor_a, mean_b, factor_b))
        raise InputError(f"bures_wasserstein needs two means and two factors of one dimension, not of shapes {shapes}")
    mean_a, factor_a, mean_b, factor_b = (np.asarray(x, np.float64) for x in (mean_a, factor_a, mean_b, factor_b))
    nuclear_norm = np.linalg.svd(factor_a.T @ factor_b, compute_uv=False).sum()
    squares = sum(np.square(x).sum() for x in (mean_a - mean_b, factor_a, factor_b))
    return float(np.sqrt(max(squares - 2 * nuclear_norm, 0.0)))


def prior_distance(a: Gaussian | LowRankGaussian, b: Gaussian | LowRankGaussian) -> float:
    """Compute `bures_wasserstein` between two fitted priors, before their draws are clipped."""
    return bures_wasserstein(np.asarray(a.mean), _factor(a), np.asarray(b.mean), _factor(b))


def _factor(prior: Gaussian | LowRankGaussian) -> Float[np.ndarray, "d k"]:
    if isinstance(prior, Gaussian):
        return np.asarray(prior.factor)
    return np.concatenate([prior.basis, np.diag(np.ravel(prior.residual))], axis=1)
