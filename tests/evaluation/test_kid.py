"""The kernel distance against a loop over all pairs, and its interval.

Covers: `metrics.kid`.
"""

import numpy as np
import pytest

from fdrl_jax.evaluation.metrics import kernel_distance
from fdrl_jax.types import InputError


def features(count, d, seed, scale=1.0, shift=0.0):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((count, d)) @ (generator.standard_normal((d, d)) * scale) + shift


def test_kernel_distance_is_the_unbiased_estimate():
    x, y = features(40, 4, 0), features(40, 4, 1, shift=0.5)

    def kernel(a, b):
        return (a @ b / 4 + 1) ** 3

    def squared_mmd(a, b):
        n = len(a)
        within = sum(kernel(s[i], s[j]) / (n * (n - 1)) for s in (a, b) for i in range(n) for j in range(n) if i != j)
        return within - 2 * sum(kernel(p, q) for p in a for q in b) / n**2

    generator = np.random.default_rng(0)
    samples = x[generator.choice(40, 10, replace=False)]
    data = y[generator.choice(40, 10, replace=False)]
    result = kernel_distance(y, x, subsets=2, subset_size=10)
    second = (x[generator.choice(40, 10, replace=False)], y[generator.choice(40, 10, replace=False)])
    assert result.value == pytest.approx((squared_mmd(samples, data) + squared_mmd(*second)) / 2)


def test_the_interval_contains_zero_for_one_distribution_and_not_for_two():
    generator = np.random.default_rng(0)
    x, y, z = generator.standard_normal((3, 400, 3))
    assert kernel_distance(x, y).low < 0 < kernel_distance(x, y).high
    assert kernel_distance(x, z + 1).low > 0


def test_subsets_are_half_of_a_small_set_so_that_they_differ():
    x, y = features(20, 3, 0), features(30, 3, 1)
    assert kernel_distance(x, y) == kernel_distance(x, y, subset_size=10) != kernel_distance(x, y, subset_size=6)


def test_kernel_distance_needs_four_examples():
    with pytest.raises(InputError, match="at least 4 examples in each set, not 3 and 9"):
        kernel_distance(features(3, 2, 0), features(9, 2, 0))
