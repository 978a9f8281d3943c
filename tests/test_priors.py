"""Priors: the fitted Gaussian against the authors' numbers, and every prior's draws against its own distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import assert_close, fixture, nhwc
from scipy import stats

from fdrl_jax import rng
from fdrl_jax.priors import Gaussian, Normal, Prior, Uniform, fit_gaussian
from fdrl_jax.types import InputError

pytestmark = pytest.mark.usefixtures("strict_promotion")

KEYS = rng.per_sample(jax.random.key(11), 20_000)


def correlated_gaussian(clip=None):
    """Standard deviations 0.5 and 0.5 sqrt(1.28), correlated, in an event of two axes."""
    return Gaussian(jnp.array([[0.3], [-0.2]]), jnp.array([[0.5, 0.0], [0.4, 0.4]]), clip)


PRIORS = [correlated_gaussian(), correlated_gaussian(clip=0.5), Uniform((2, 3)), Normal((2,), 0.1)]


# --- fitting ---


def test_fit_matches_the_authors_numbers():
    expected = fixture()
    prior = fit_gaussian(expected["ddp/data_nchw"])  # Events of any shape are flattened as they are.
    assert prior.event_shape == (3, 4, 4)
    assert_close(prior.mean.ravel(), expected["ddp/mean"])
    assert_close(prior.factor, expected["ddp/cholesky"])
    factor = np.asarray(prior.factor, np.float64)
    assert_close(factor @ factor.T, expected["ddp/covariance_with_jitter"])


def test_fit_on_channels_last_is_the_same_gaussian_reordered():
    expected = fixture()
    prior = fit_gaussian(nhwc(expected["ddp/data_nchw"]))
    order = nhwc(np.arange(48).reshape(1, 3, 4, 4)).ravel()
    factor = np.asarray(prior.factor, np.float64)
    assert prior.event_shape == (4, 4, 3)
    assert_close(prior.mean.ravel(), expected["ddp/mean"][order])
    assert_close(factor @ factor.T, expected["ddp/covariance_with_jitter"][np.ix_(order, order)])


def test_covariance_is_biased_plus_jitter():
    # Two points at +-1: mean 0, sum of squares 2, divided by n = 2.
    prior = fit_gaussian(np.array([[1.0], [-1.0]]), jitter=0.25)
    np.testing.assert_allclose(prior.factor, np.sqrt([[1.25]]), rtol=1e-6)


def test_constant_pixel_needs_jitter():
    data = np.stack([np.random.default_rng(0).standard_normal(50), np.full(50, 0.5)], axis=1)
    assert float(fit_gaussian(data, jitter=1e-4).factor[1, 1]) == pytest.approx(1e-2)  # sqrt(jitter)
    with pytest.raises(InputError, match=r"not positive definite with prior\.jitter = 0\.0"):
        fit_gaussian(data, jitter=0.0)


@pytest.mark.parametrize(
    "data", [np.zeros((0, 2, 2)), np.array([[0.0], [np.nan]]), np.array([[0.0], [np.inf]])], ids=["empty", "nan", "inf"]
)
def test_data_that_cannot_be_fitted_is_refused(data):
    with pytest.raises(InputError, match="empty or not finite"):
        fit_gaussian(data)


# --- drawing ---


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_draws_do_not_depend_on_their_batch(prior):
    assert isinstance(prior, Prior)
    draws = jax.jit(lambda prior, keys: prior.sample(keys))(prior, KEYS[:10])
    assert draws.shape == (10, *prior.event_shape)
    assert draws.dtype == jnp.float32
    order = np.array([7, 1, 4])
    np.testing.assert_allclose(prior.sample(KEYS[order]), draws[order], rtol=1e-6, atol=1e-7)
    assert len(np.unique(draws.reshape(10, -1), axis=0)) == 10


def test_gaussian_draws_have_its_moments():
    prior = correlated_gaussian()
    draws = np.asarray(prior.sample(KEYS)).reshape(-1, 2)
    covariance = np.asarray(prior.factor @ prior.factor.T)
    sd = np.sqrt(np.diag(covariance))
    n = len(draws)
    assert (np.abs(draws.mean(axis=0) - np.ravel(prior.mean)) < 4 * sd / np.sqrt(n)).all()
    # Var of a sample covariance of normals: (s_ii s_jj + s_ij^2) / n.
    errors = np.sqrt((np.outer(sd, sd) ** 2 + covariance**2) / n)
    assert (np.abs(np.cov(draws.T) - covariance) < 4 * errors).all()


def test_clip_cuts_the_same_draws():
    free, clipped = (correlated_gaussian(clip).sample(KEYS[:200]) for clip in (None, 0.5))
    np.testing.assert_array_equal(clipped, np.clip(free, -0.5, 0.5))
    assert (np.abs(free) > 0.5).any()


def test_fit_clips_to_the_pixel_range_unless_told():
    data = np.array([[2.0], [-2.0]])
    assert float(jnp.abs(fit_gaussian(data).sample(KEYS[:200])).max()) == 1.0
    assert float(jnp.abs(fit_gaussian(data, clip=None).sample(KEYS[:200])).max()) > 2


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 3.0)])
def test_uniform_fills_its_range(low, high):
    prior = Uniform((2,)) if low == -1 else Uniform((2,), low, high)
    draws = np.ravel(prior.sample(KEYS))
    assert stats.kstest(draws, "uniform", (low, high - low)).pvalue > 0.01
    assert low <= draws.min()
    assert draws.max() < high


def test_normal_has_its_scale_and_is_not_clipped():
    assert stats.kstest(np.ravel(Normal((2,), 0.1).sample(KEYS)), "norm", (0, 0.1)).pvalue > 0.01
    assert np.abs(Normal((2,)).sample(KEYS)).max() > 3
