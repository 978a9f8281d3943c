"""Kernel distance (Binkowski et al., ICLR 2018, arXiv 1801.01401). With Inception's features it is the KID."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num

from fdrl_jax.types import InputError
from fdrl_jax.utils.confidence_intervals import normal_interval


class KernelDistance(NamedTuple):
    """An unbiased estimate of the squared maximum mean discrepancy, with a 95% interval. Values can be negative."""

    value: float
    low: float
    high: float


def kernel_distance(
    data: Num[np.ndarray, "n d"],
    samples: Num[np.ndarray, "m d"],
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> KernelDistance:
    """Return the mean over random subsets of the unbiased MMD^2 with the kernel (x . y / d + 1)^3.

    The interval comes from subsampling (Politis and Romano, 1994): the standard deviation over subsets, which are drawn
    without replacement, times sqrt(subset size / set size). A bootstrap would pair examples with their own copies.

    Args:
      data, samples: feature vectors.
      subsets: number of subsets.
      subset_size: number of examples in a subset of each set, reduced to half of the smaller set where that is less, so
        that subsets differ. The estimate is unbiased for any size.
      seed: seed of the subsets.

    Raises:
      InputError: a set has fewer than 4 examples.
    """
    smaller = min(len(data), len(samples))
    size = min(subset_size, smaller // 2)
    if size < 2:
        raise InputError(
            f"the kernel distance needs at least 4 examples in each set, not {len(data)} and {len(samples)}"
        )
    generator = np.random.default_rng(seed)

    def draw(x: np.ndarray) -> Float[np.ndarray, "size d"]:
        return x[generator.choice(len(x), size, replace=False)].astype(np.float64)

    values = [_squared_mmd(draw(samples), draw(data)) for _ in range(subsets)]
    mean = float(np.mean(values))
    return KernelDistance(mean, *normal_interval(mean, float(np.std(values, ddof=1)) * np.sqrt(size / smaller)))


def _squared_mmd(x: Float[np.ndarray, "m d"], y: Float[np.ndarray, "m d"]) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    m = len(x)
    within = sum((k.sum() - np.trace(k)) / (m * (m - 1)) for k in (kernel(x, x), kernel(y, y)))
    return float(within - 2 * kernel(x, y).mean())
