"""Confidence intervals: of a normal estimate, and by the bootstrap (Efron, 1979)."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int64

CONFIDENCE = 0.95
_Z = 1.959963984540054  # scipy.stats.norm.ppf(0.975)


def normal_interval(value: float, deviation: float) -> tuple[float, float]:
    """Return the 95% interval (low, high) of a normal estimate `value` with standard deviation `deviation`."""
    return value - _Z * deviation, value + _Z * deviation


def bootstrap(
    value: float, statistic: Callable[[Int64[np.ndarray, " n"]], float], n: int, replicates: int, seed: int = 0
) -> tuple[float, float]:
    """Return a 95% interval (low, high) around `value`, from the spread of `statistic` over resampled sets.

    It is the normal interval, not that of the percentiles: distances such as FID grow when a set has repeated examples,
    so the percentiles are all above the estimate. The standard deviation is not affected.

    Args:
      value: the statistic of the original set.
      statistic: function from n indices into the set, drawn with replacement, to the statistic of those examples.
      n: size of the set.
      replicates: number of resampled sets, at least 2.
      seed: seed of the draws.
    """
    generator = np.random.default_rng(seed)
    values = [statistic(generator.integers(0, n, n)) for _ in range(replicates)]
    return normal_interval(value, float(np.std(values, ddof=1)))
