"""The fitted Gaussian against the authors' results, and its draws against its own distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import assert_close, fixture, nhwc
from small_priors import correlated_gaussian
from synthetic_images import Recorded, relative_error, smooth_images

from fdrl_jax.priors import condition, fit_gaussian
from fdrl_jax.types import InputError
from fdrl_jax.utils import rng
from fdrl_jax.utils.pixel_scaling import to_float

pytestmark = pytest.mark.usefixtures("strict_promotion")

KEYS = rng.per_sample(jax.random.key(11), 20_000)


# --- fitting ---


def test_fit_matches_the_authors_results():
    expected = fixture()
    prior = fit_gaussian(expected["ddp/data_nchw"])  # The fit flattens events of any shape.
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


def test_memory_map_and_floats_give_the_same_fit(tmp_path):
    images = smooth_images(300, 4)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    prior = fit_gaussian(mapped)
    assert prior.event_shape == (4, 4, 3)
    for data in (images, to_float(images), to_float(images).astype(np.float64)):
        other = fit_gaussian(data)
        assert_close(other.mean, prior.mean, 1e-6)
        assert_close(other.factor, prior.factor, 1e-5)
    np.testing.assert_array_equal(mapped, images)  # The fit releases the pages of the map, which must lose no data.


def test_fit_reads_each_example_once_a_block_at_a_time():
    data = Recorded(smooth_images(5000, 4))
    fit_gaussian(data)
    sample, *blocks = data.reads
    assert len(sample) <= 256
    assert max(map(len, blocks)) <= 1024
    assert sorted(i for block in blocks for i in block) == list(range(5000))


def test_jitter_survives_float32_where_images_are_fewer_than_values():
    images = np.repeat(np.repeat(smooth_images(40, 8), 2, axis=1), 2, axis=2)  # Every pixel is repeated four times.
    factor = fit_gaussian(images).factor.astype(np.float64)
    assert factor.diagonal().min() ** 2 > 0.95e-4
    covariance = np.cov((images.reshape(40, -1) / 127.5 - 1).T, bias=True) + 1e-4 * np.eye(768)
    assert relative_error(factor @ factor.T, covariance) < 1e-6


def test_factor_is_shared_with_a_cpu_device_not_copied():
    factor = fit_gaussian(smooth_images(50, 4)).factor
    assert isinstance(factor, np.ndarray)
    assert jax.device_put(factor, jax.devices("cpu")[0]).unsafe_buffer_pointer() == factor.ctypes.data


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


def test_gaussian_draws_have_its_moments():
    prior = correlated_gaussian()
    draws = np.asarray(prior.sample(KEYS)).reshape(-1, 2)
    covariance = np.asarray(prior.factor @ prior.factor.T)
    sd = np.sqrt(np.diag(covariance))
    n = len(draws)
    assert (np.abs(draws.mean(axis=0) - np.ravel(prior.mean)) < 4 * sd / np.sqrt(n)).all()
    # The variance of a sample covariance of normals: (s_ii s_jj + s_ij^2) / n.
    errors = np.sqrt((np.outer(sd, sd) ** 2 + covariance**2) / n)
    assert (np.abs(np.cov(draws.T) - covariance) < 4 * errors).all()


def test_conditioned_draws_have_the_moments_of_the_conditional():
    # The conditional of a bivariate normal: mean mu_u + C_uk / C_kk (known - mu_k), variance C_uu - C_uk^2 / C_kk.
    prior = correlated_gaussian()
    mask = np.array([True, False]).reshape(prior.event_shape)
    known = jnp.full((len(KEYS), *prior.event_shape), 0.7)
    draws = np.asarray(condition(prior, prior.sample(KEYS), known, mask)).reshape(-1, 2)
    covariance, mean = np.asarray(prior.factor @ prior.factor.T), np.ravel(prior.mean)
    expected = mean[1] + covariance[1, 0] / covariance[0, 0] * (0.7 - mean[0])
    variance = covariance[1, 1] - covariance[1, 0] ** 2 / covariance[0, 0]
    assert abs(expected - mean[1]) > 0.1
    np.testing.assert_array_equal(draws[:, 0], np.float32(0.7))
    assert abs(draws[:, 1].mean() - expected) < 4 * np.sqrt(variance / len(KEYS))
    assert abs(draws[:, 1].var() / variance - 1) < 4 * np.sqrt(2 / len(KEYS))


def test_conditioned_draws_are_clipped_as_the_prior_is():
    prior = correlated_gaussian(0.5)
    mask = np.array([True, False]).reshape(prior.event_shape)
    x = prior.sample(KEYS[:200])
    moved = condition(prior, x, jnp.full_like(x, 3.0), mask).reshape(-1, 2)
    assert (np.abs(moved[:, 1]) == 0.5).any()
    assert (np.abs(moved[:, 1]) <= 0.5).all()


def test_a_mask_that_is_not_of_one_event_is_refused():
    prior = correlated_gaussian()
    x = prior.sample(KEYS[:3])
    with pytest.raises(InputError, match="must be of one event"):
        condition(prior, x, x, np.ones((3, *prior.event_shape), bool))


def test_clip_cuts_the_same_draws():
    free, clipped = (correlated_gaussian(clip).sample(KEYS[:200]) for clip in (None, 0.5))
    np.testing.assert_array_equal(clipped, np.clip(free, -0.5, 0.5))
    assert (np.abs(free) > 0.5).any()


def test_fit_clips_to_the_pixel_range_by_default():
    data = np.array([[2.0], [-2.0]])
    assert float(jnp.abs(fit_gaussian(data).sample(KEYS[:200])).max()) == 1.0
    assert float(jnp.abs(fit_gaussian(data, clip=None).sample(KEYS[:200])).max()) > 2
