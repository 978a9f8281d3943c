"""The low-rank Gaussian prior, against the exact covariance and against data of known principal axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from synthetic_images import Recorded, relative_error, smooth_images

from fdrl_jax.priors import LowRankGaussian, Prior, fit_low_rank
from fdrl_jax.types import InputError
from fdrl_jax.utils import rng
from fdrl_jax.utils.pixel_scaling import to_float

pytestmark = pytest.mark.usefixtures("strict_promotion")

KEYS = rng.per_sample(jax.random.key(12), 20_000)
IMAGES = smooth_images(2000, 8)  # 192 values.


def covariance(data):
    return np.cov(to_float(data).reshape(len(data), -1).astype(np.float64).T, bias=True)


def gram(prior):
    """basis basis^T in float64."""
    basis = np.asarray(prior.basis, np.float64)
    return basis @ basis.T


def small():
    """Two directions and a residual, in an event of two axes."""
    return LowRankGaussian(
        jnp.array([[0.1], [-0.2], [0.0]]),
        jnp.array([[0.5, 0.0], [0.4, 0.3], [0.0, 0.2]]),
        jnp.array([[0.1], [0.2], [0.3]]),
        clip=None,
    )


# --- fitting ---


def test_data_of_that_rank_are_recovered():
    generator = np.random.default_rng(0)
    data = 3 + generator.standard_normal((200, 4)) * [10, 3, 1, 0.1] @ generator.standard_normal((4, 40))
    prior = fit_low_rank(data, 4, jitter=1e-4)
    assert relative_error(gram(prior), covariance(data)) < 1e-5
    np.testing.assert_allclose(prior.mean, data.mean(axis=0), rtol=1e-6)
    # The residual is the jitter and the rounding error of variances near 1000.
    assert float(prior.residual.max()) < 0.05
    assert prior.variance_kept() > 1 - 1e-5


def test_directions_in_noise_are_found():
    generator = np.random.default_rng(1)
    deviations = generator.uniform(0.05, 0.2, 60)
    signal = generator.standard_normal((3000, 3)) * [3, 2, 1] @ np.linalg.qr(generator.standard_normal((60, 3)))[0].T
    data = signal + deviations * generator.standard_normal((3000, 60))
    prior = fit_low_rank(data, 3, jitter=0.0)
    # The noise also has a part in the three directions, of the order of its variance in any three directions.
    assert np.abs(np.square(prior.residual) - deviations**2).max() < 0.3 * deviations.max() ** 2
    assert relative_error(gram(prior) + np.diag(np.square(prior.residual)), covariance(data)) < 0.01


@pytest.mark.parametrize("rank", [1, 10, 150, 192])
def test_it_is_nearly_the_best_approximation_of_its_rank_from_below(rank):
    exact = covariance(IMAGES)
    values = np.linalg.eigvalsh(exact)[::-1]
    prior = fit_low_rank(IMAGES, rank, jitter=0.0)
    assert 0.99 * values[:rank].sum() < np.trace(gram(prior)) < (1 + 1e-5) * values[:rank].sum()
    assert np.linalg.eigvalsh(exact - gram(prior))[0] > -1e-6 * values[0]
    assert prior.variance_kept() == pytest.approx(np.trace(gram(prior)) / values.sum(), rel=1e-5)


def test_more_power_iterations_keep_more_variance():
    kept = [fit_low_rank(IMAGES, 10, power=power).variance_kept() for power in range(3)]
    assert kept == sorted(kept)
    assert kept[2] > kept[0]


@pytest.mark.parametrize("rank", [1, 10, 100, 192])
@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
def test_every_pixel_has_its_exact_mean_and_variance(rank, kind):
    data = IMAGES if kind == "uint8" else to_float(IMAGES).astype(kind)
    prior = fit_low_rank(data, rank, jitter=1e-3)
    assert (prior.basis.dtype, prior.residual.dtype, prior.mean.dtype) == (np.float32,) * 3
    assert prior.mean.shape == prior.residual.shape == prior.event_shape == (8, 8, 3)
    variance = np.diag(gram(prior)) + np.square(np.ravel(prior.residual), dtype=np.float64)
    np.testing.assert_allclose(variance, np.diag(covariance(IMAGES)) + 1e-3, rtol=1e-6)
    np.testing.assert_allclose(prior.mean, to_float(IMAGES).mean(axis=0, dtype=np.float64), atol=1e-6)


def test_axes_are_orthogonal_and_the_largest_is_first():
    prior = fit_low_rank(IMAGES, 20)
    products = prior.basis.T.astype(np.float64) @ prior.basis
    sizes = np.diag(products)
    assert (np.diff(sizes) < 0).all()
    assert np.abs(products - np.diag(sizes)).max() < 1e-5 * sizes[0]


def test_fit_depends_on_its_seed_alone(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    first = fit_low_rank(IMAGES, 5)
    mapped = fit_low_rank(np.load(tmp_path / "images.npy", mmap_mode="r"), 5, seed=0)
    np.testing.assert_array_equal(first.basis, mapped.basis)
    assert not np.array_equal(first.basis, fit_low_rank(IMAGES, 5, seed=1).basis)


def test_fit_reads_the_data_in_passes_a_block_at_a_time():
    data = Recorded(smooth_images(3000, 4))
    fit_low_rank(data, 3, power=1)
    sample, *blocks = data.reads
    assert len(sample) <= 256
    assert max(map(len, blocks)) <= 1024
    assert sorted(i for block in blocks for i in block) == sorted(3 * list(range(3000)))


def test_few_and_constant_examples():
    few = fit_low_rank(IMAGES[:4], 3)
    np.testing.assert_allclose(gram(few), covariance(IMAGES[:4]), atol=1e-6)
    constant = fit_low_rank(np.full((10, 2, 2), 0.25), 2, jitter=0.04)
    assert not constant.basis.any()
    np.testing.assert_allclose(constant.residual, np.full((2, 2), 0.2), rtol=1e-6)
    assert constant.variance_kept() == 0


@pytest.mark.parametrize(
    ("shape", "rank", "most"), [((50, 6), 0, 6), ((50, 6), 7, 6), ((5, 6), 5, 4), ((50, 6), -1, 6)]
)
def test_a_rank_larger_than_that_of_the_data_is_refused(shape, rank, most):
    data = np.random.default_rng(0).standard_normal(shape)
    with pytest.raises(InputError, match=rf"prior\.rank = {rank} must be from 1 to {most}"):
        fit_low_rank(data, rank)
    fit_low_rank(data, most)


@pytest.mark.parametrize("data", [np.zeros((0, 2)), np.array([[0.0, 1.0], [np.nan, 1.0], [2.0, 0.0]])])
def test_data_that_cannot_be_fitted_is_refused(data):
    with pytest.raises(InputError, match="empty or not finite"):
        fit_low_rank(data, 1)


# --- drawing ---


def test_draws_have_the_moments():
    prior = small()
    draws = np.asarray(prior.sample(KEYS)).reshape(-1, 3)
    expected = gram(prior) + np.diag(np.square(np.ravel(prior.residual)))
    sd, n = np.sqrt(np.diag(expected)), len(draws)
    assert (np.abs(draws.mean(axis=0) - np.ravel(prior.mean)) < 4 * sd / np.sqrt(n)).all()
    # The variance of a sample covariance of normals: (s_ii s_jj + s_ij^2) / n.
    errors = np.sqrt((np.outer(sd, sd) ** 2 + expected**2) / n)
    assert (np.abs(np.cov(draws.T) - expected) < 4 * errors).all()


def test_draws_depend_on_their_own_key_alone():
    prior = small()
    assert isinstance(prior, Prior)
    draws = jax.jit(lambda prior, keys: prior.sample(keys))(prior, KEYS[:10])
    assert (draws.shape, draws.dtype) == ((10, 3, 1), jnp.float32)
    order = np.array([7, 1, 4])
    np.testing.assert_allclose(prior.sample(KEYS[order]), draws[order], rtol=1e-6, atol=1e-7)
    assert len(np.unique(draws.reshape(10, -1), axis=0)) == 10


def test_fitted_prior_goes_through_jit_and_clips():
    prior = fit_low_rank(IMAGES, 5)
    back = jax.jit(lambda prior: prior)(prior)
    assert back.clip == prior.clip == 1.0
    np.testing.assert_array_equal(back.basis, prior.basis)
    wide = LowRankGaussian(prior.mean, 10 * prior.basis, prior.residual)
    free = LowRankGaussian(prior.mean, 10 * prior.basis, prior.residual, clip=None)
    np.testing.assert_array_equal(wide.sample(KEYS[:20]), np.clip(free.sample(KEYS[:20]), -1, 1))
    assert (np.abs(free.sample(KEYS[:20])) > 1).any()
