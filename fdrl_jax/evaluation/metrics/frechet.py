"""Frechet distance of two Gaussians fitted to features (Heusel et al., NeurIPS 2017, arXiv 1706.08500).

With the features of Inception (`features.inception_fid`) it is the FID.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Num

from fdrl_jax.types import InputError

# The square root of a covariance takes time proportional to d^3 and memory of 8 d^2 bytes for each matrix. With more
# dimensions than this it takes hours.
MAX_DIMENSION = 8192


class Moments:
    """Count, mean and covariance of vectors that arrive in batches, in float64. Only sums are kept in memory.

    The sums are of differences to the mean of the first batch, so that features far from 0 lose no digits.

    Args:
      batches: the vectors, [n, d] each; more can be added with `add`.

    Attributes:
      count: number of vectors so far.

    Raises:
      InputError: see `add`.
    """

    def __init__(self, batches: Iterable[Num[np.ndarray, "n d"]] = ()):
        self.count = 0
        for batch in batches:
            self.add(batch)

    def add(self, batch: Num[np.ndarray, "n d"]) -> None:
        """Add n more vectors.

        Raises:
          InputError: the vectors have more than `MAX_DIMENSION` entries, or values that are not finite.
        """
        x = np.asarray(batch, np.float64)
        if self.count == 0:
            if x.shape[1] > MAX_DIMENSION:
                raise InputError(
                    f"the Frechet distance takes features of at most {MAX_DIMENSION} dimensions, not {x.shape[1]}: use "
                    "features of a network instead of pixels"
                )
            self._shift = x.mean(axis=0)
            self._sum = np.zeros(x.shape[1])
            self._outer = np.zeros((x.shape[1], x.shape[1]))
        x = x - self._shift
        self._sum += x.sum(axis=0)
        self._outer += x.T @ x
        self.count += len(x)
        if not np.isfinite(self._sum).all():
            raise InputError("features are not finite: the samples, or the weights of the feature network, are broken")

    @property
    def mean(self) -> Float[np.ndarray, " d"]:
        """The mean of all vectors so far."""
        return self._shift + self._sum / self.count

    @property
    def covariance(self) -> Float[np.ndarray, "d d"]:
        """The unbiased covariance (divided by count - 1), as numpy.cov and every FID code compute it.

        Raises:
          InputError: there are fewer than two vectors.
        """
        if self.count < 2:
            raise InputError(f"a covariance needs at least 2 examples, not {self.count}")
        return (self._outer - np.outer(self._sum, self._sum) / self.count) / (self.count - 1)


class Reference:
    """One of the two Gaussians of a Frechet distance. The square root of its covariance is computed only once.

    Args:
      mean, covariance: [d] and [d, d], float64.
    """

    def __init__(self, mean: Float[np.ndarray, " d"], covariance: Float[np.ndarray, "d d"]):
        self.mean, self.covariance = mean, covariance
        values, vectors = np.linalg.eigh(covariance)
        self._root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T

    def distance(self, mean: Float[np.ndarray, " d"], covariance: Float[np.ndarray, "d d"]) -> float:
        """Return |m_a - m_b|^2 + tr(A + B - 2 (A^(1/2) B A^(1/2))^(1/2)), in squared units of the features.

        The matrix under the last root is symmetric, so a symmetric eigendecomposition gives the trace of the root. The
        usual scipy.linalg.sqrtm of A B, which is not symmetric, returns complex numbers where A or B is singular.

        Args:
          mean, covariance: m_b and B, the other Gaussian.

        Raises:
          InputError: the dimensions differ.
        """
        if mean.shape != self.mean.shape:
            raise InputError(f"the features have {mean.size} dimensions and the reference {self.mean.size}")
        cross = np.linalg.eigvalsh(self._root @ covariance @ self._root)
        trace = np.trace(self.covariance) + np.trace(covariance) - 2 * np.sqrt(np.maximum(cross, 0)).sum()
        return float(np.square(mean - self.mean).sum() + trace)


def frechet_distance(
    mean_a: Float[np.ndarray, " d"],
    covariance_a: Float[np.ndarray, "d d"],
    mean_b: Float[np.ndarray, " d"],
    covariance_b: Float[np.ndarray, "d d"],
) -> float:
    """Return the (squared) Frechet distance of two Gaussians; see `Reference.distance`."""
    return Reference(mean_a, covariance_a).distance(mean_b, covariance_b)


def rank(covariance: Float[np.ndarray, "d d"]) -> int:
    """Return the numerical rank of a covariance."""
    return int(np.linalg.matrix_rank(covariance, hermitian=True))
