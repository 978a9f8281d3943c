"""Draws of the uniform and the normal prior, against their distributions."""

import jax
import numpy as np
import pytest
from scipy import stats

from fdrl_jax.priors import Normal, Uniform
from fdrl_jax.utils import rng

pytestmark = pytest.mark.usefixtures("strict_promotion")

KEYS = rng.per_sample(jax.random.key(11), 20_000)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 3.0)])
def test_uniform_fills_its_range(low, high):
    prior = Uniform((2,)) if low == -1 else Uniform((2,), low, high)
    draws = np.ravel(prior.sample(KEYS))
    assert stats.kstest(draws, "uniform", (low, high - low)).pvalue > 0.01
    assert low <= draws.min()
    assert draws.max() < high


def test_normal_has_its_scale_and_is_not_clipped():
    assert stats.kstest(np.ravel(Normal((2,), 0.1).sample(KEYS)), stats.norm(0, 0.1).cdf).pvalue > 0.01
    assert np.abs(Normal((2,)).sample(KEYS)).max() > 3
