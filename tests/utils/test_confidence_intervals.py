"""Confidence intervals against the normal distribution and known standard errors."""

import numpy as np
import pytest
from scipy import stats

from fdrl_jax.utils.confidence_intervals import CONFIDENCE, bootstrap, normal_interval


def test_the_normal_interval_has_the_quantiles_of_the_normal_distribution():
    expected = stats.norm.interval(CONFIDENCE, loc=3.0, scale=0.5)
    np.testing.assert_allclose(normal_interval(3.0, 0.5), expected, rtol=1e-12)


def test_the_bootstrap_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(0).standard_normal(400) + 5
    low, high = bootstrap(x.mean(), lambda rows: float(x[rows].mean()), len(x), 400)
    assert (low + high) / 2 == pytest.approx(x.mean())
    # The width is 2 x 1.96 standard errors. With 400 replicates its relative standard error is 1 / sqrt(800), 3.5%; the
    # tolerance is three of these.
    assert high - low == pytest.approx(2 * 1.96 * x.std() / 20, rel=0.11)


def test_the_bootstrap_is_a_function_of_its_seed():
    x = np.random.default_rng(0).standard_normal(50)

    def interval(seed):
        return bootstrap(0.0, lambda rows: float(x[rows].mean()), 50, 10, seed)

    assert interval(1) == interval(1) != interval(2)
