"""Priors: the fitted Gaussian against the authors' numbers, and every prior's draws against its own distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import assert_close, fixture, nhwc
from scipy import stats
from smooth import Recorded, relative, smooth_images

from fdrl_jax import rng
from fdrl_jax.pixels import to_float
from fdrl_jax.priors import (
    Empirical,
    Gaussian,
    HostGaussian,
    LowRankGaussian,
    Normal,
    Prior,
    Uniform,
    Whitened,
    cholesky,
    condition,
    fit_gaussian,
)
from fdrl_jax.priors.cholesky import cholesky_in_place
from fdrl_jax.priors.covariance import moments
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


@pytest.mark.parametrize("block", [1, 7, 80, 150, 1000])
@pytest.mark.parametrize("rows", [1, 9, 70, 1000])
def test_moments_do_not_depend_on_how_they_are_cut(block, rows):
    data = np.random.default_rng(0).standard_normal((70, 50, 3)) @ np.array([[1, 0, 1], [0, 2, 1], [0, 0, 0.5]])
    mean, covariance = moments(data, block, rows)
    flat = data.reshape(70, 150)
    np.testing.assert_allclose(mean, flat.mean(axis=0), atol=1e-7)
    expected = np.tril(np.cov(flat.T, bias=True))
    assert relative(covariance, expected) < 1e-6
    assert not np.triu(covariance, 1).any()


@pytest.mark.parametrize(
    ("kind", "count", "bound"),
    # The aim is 1e-5. Rounding the exact covariance gives 2.5e-8: products of few uint8 are exact.
    [("uint8", 2000, 4e-8), ("uint8", 20_000, 1e-6), ("float32", 20_000, 1e-6), ("float64", 20_000, 1e-6)],
)
def test_covariance_is_accurate(kind, count, bound):
    images = smooth_images(count, 16)
    _, covariance = moments(images if kind == "uint8" else to_float(images).astype(kind))
    exact = images.reshape(len(images), -1) / 127.5 - 1
    assert relative(covariance, np.tril(np.cov(exact.T, bias=True))) < bound


def test_mean_far_from_zero_costs_no_accuracy():
    data = 1e5 / 3 + np.random.default_rng(0).standard_normal((3000, 20))
    mean, covariance = moments(data)
    np.testing.assert_allclose(mean, data.mean(axis=0), rtol=1e-12)
    assert relative(covariance, np.tril(np.cov(data.T, bias=True))) < 1e-6


def test_memory_map_and_floats_give_one_fit(tmp_path):
    images = smooth_images(300, 4)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    prior = fit_gaussian(mapped)
    assert prior.event_shape == (4, 4, 3)
    for data in (images, to_float(images), to_float(images).astype(np.float64)):
        other = fit_gaussian(data)
        assert_close(other.mean, prior.mean, 1e-6)
        assert_close(other.factor, prior.factor, 1e-5)
    np.testing.assert_array_equal(mapped, images)  # Letting go of its pages lost nothing.


def test_fit_reads_each_example_once_a_block_at_a_time():
    data = Recorded(smooth_images(5000, 4))
    fit_gaussian(data)
    sample, *blocks = data.reads
    assert len(sample) <= 256
    assert max(map(len, blocks)) <= 1024
    assert sorted(i for block in blocks for i in block) == list(range(5000))


def test_jitter_survives_float32_where_images_are_fewer_than_values():
    images = np.repeat(np.repeat(smooth_images(40, 8), 2, axis=1), 2, axis=2)  # Every pixel four times over.
    factor = fit_gaussian(images).factor.astype(np.float64)
    assert factor.diagonal().min() ** 2 > 0.95e-4
    covariance = np.cov((images.reshape(40, -1) / 127.5 - 1).T, bias=True) + 1e-4 * np.eye(768)
    assert relative(factor @ factor.T, covariance) < 1e-6


def test_factor_is_shared_with_a_cpu_device_not_copied():
    factor = fit_gaussian(smooth_images(50, 4)).factor
    assert isinstance(factor, np.ndarray)
    assert jax.device_put(factor, jax.devices("cpu")[0]).unsafe_buffer_pointer() == factor.ctypes.data


@pytest.mark.parametrize(("d", "block"), [(1, 1), (5, 2), (64, 64), (65, 64), (130, 64), (130, 200)])
def test_cholesky_by_blocks_is_the_factor(d, block, monkeypatch):
    monkeypatch.setattr(cholesky, "_TERMS", 24)  # Divides no block: long sums are cut too.
    x = np.random.default_rng(d).standard_normal((d, d + 5))
    a = (x @ x.T / d + 0.1 * np.eye(d)).astype(np.float32)
    expected = np.linalg.cholesky(a.astype(np.float64))
    a[np.triu_indices(d, 1)] = np.nan  # Not read, and cleared.
    cholesky_in_place(a, block)
    assert_close(a, expected, 1e-5)


@pytest.mark.parametrize("row", [0, 3, 9])
@pytest.mark.parametrize("value", [-1.0, 0.0, np.nan])
def test_cholesky_refuses_what_is_not_positive_definite(row, value):
    a = np.eye(10, dtype=np.float32)
    a[row, row] = value
    with pytest.raises(np.linalg.LinAlgError):
        cholesky_in_place(a, 4)


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


def test_conditioned_draws_have_the_moments_of_the_conditional():
    """Against the textbook's mu_u + C_uk / C_kk (known - mu_k) and C_uu - C_uk^2 / C_kk."""
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


def test_condition_wants_a_mask_of_one_event():
    prior = correlated_gaussian()
    x = prior.sample(KEYS[:3])
    with pytest.raises(InputError, match="must be of one event"):
        condition(prior, x, x, np.ones((3, *prior.event_shape), bool))


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
    assert stats.kstest(np.ravel(Normal((2,), 0.1).sample(KEYS)), stats.norm(0, 0.1).cdf).pvalue > 0.01
    assert np.abs(Normal((2,)).sample(KEYS)).max() > 3


# --- maps of standard normal vectors ---


def low_rank(clip=None):
    return LowRankGaussian(
        jnp.array([[0.1], [-0.2]]), jnp.array([[0.5, 0.0, 0.1], [0.4, 0.3, 0.2]]), jnp.array([[0.1], [0.2]]), clip
    )


def written_out(prior, keys):
    """Draws as they were computed before there was `from_normal`."""
    match prior:
        case Gaussian():
            z = rng.normal(keys, (2,))
            x = prior.mean[None] + (z @ prior.factor.T).reshape(-1, 2, 1)
        case LowRankGaussian():
            directions, pixels = (jax.vmap(jax.random.fold_in, (0, None))(keys, i) for i in range(2))
            flat = rng.normal(directions, (3,)) @ prior.basis.T
            x = prior.mean[None] + (flat.reshape(-1, 2, 1) + prior.residual[None] * rng.normal(pixels, (2, 1)))
        case Uniform():
            x = rng.uniform(keys, (2, 3), -1.0, 1.0)
        case Normal():
            x = 0.1 * rng.normal(keys, (2,))
    clip = getattr(prior, "clip", None)
    return x if clip is None else jnp.clip(x, -clip, clip)


MAPS = [*PRIORS, low_rank(), low_rank(clip=0.3)]


@pytest.mark.parametrize("prior", MAPS, ids=repr)
def test_draws_are_what_they_were(prior):
    np.testing.assert_array_equal(prior.sample(KEYS[:50]), written_out(prior, KEYS[:50]))


@pytest.mark.parametrize("prior", MAPS, ids=repr)
def test_standard_normal_vectors_become_draws(prior):
    assert isinstance(prior, Whitened)
    z = rng.normal(KEYS, (prior.normal_size,))
    draws = prior.from_normal(z)
    assert draws.dtype == jnp.float32
    assert draws.shape == (len(KEYS), *prior.event_shape)
    other = np.asarray(prior.sample(rng.per_sample(jax.random.key(5), len(KEYS)))).reshape(len(KEYS), -1)
    for one, two in zip(np.asarray(draws).reshape(len(KEYS), -1).T, other.T, strict=True):
        assert stats.ks_2samp(one, two).pvalue > 0.001
    # Row by row, of numpy arrays too.
    np.testing.assert_allclose(prior.from_normal(np.asarray(z)[3:5]), draws[3:5], rtol=1e-6, atol=1e-7)


def test_the_origin_is_the_middle_of_each_prior():
    assert_close(correlated_gaussian().from_normal(jnp.zeros((1, 2)))[0], correlated_gaussian().mean)
    assert_close(low_rank().from_normal(jnp.zeros((1, 5)))[0], low_rank().mean)
    assert_close(Uniform((2,), 0.0, 3.0).from_normal(jnp.array([[0.0, 1.0]])), [[1.5, 3 * stats.norm.cdf(1)]], 1e-6)
    assert_close(Normal((2,), 0.1).from_normal(jnp.array([[0.0, 2.0]])), [[0.0, 0.2]], 1e-6)


def test_a_prior_on_the_host_maps_the_same_vectors_to_the_same_draws():
    prior = correlated_gaussian(clip=0.5)
    host = HostGaussian(np.asarray(prior.mean), np.asarray(prior.factor), 0.5)
    z = np.asarray(rng.normal(KEYS[:20], (2,)))
    assert isinstance(host, Whitened)
    np.testing.assert_allclose(host.from_normal(z), prior.from_normal(z), rtol=1e-6, atol=1e-7)


def test_images_of_another_domain_are_no_such_map():
    assert not isinstance(Empirical(np.zeros((1, 2, 2, 1), np.uint8)), Whitened)
