"""The interfaces `Prior` and `Whitened`: the same checks of every prior that implements them.

Covers: `gaussian`, `low_rank`, `uniform_and_normal`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import assert_close
from scipy import stats
from small_priors import correlated_gaussian

from fdrl_jax.priors import Empirical, Gaussian, LowRankGaussian, Normal, Prior, Uniform, Whitened
from fdrl_jax.utils import rng

pytestmark = pytest.mark.usefixtures("strict_promotion")

KEYS = rng.per_sample(jax.random.key(11), 20_000)


def low_rank(clip=None):
    return LowRankGaussian(
        jnp.array([[0.1], [-0.2]]), jnp.array([[0.5, 0.0, 0.1], [0.4, 0.3, 0.2]]), jnp.array([[0.1], [0.2]]), clip
    )


PRIORS = [correlated_gaussian(), correlated_gaussian(clip=0.5), Uniform((2, 3)), Normal((2,), 0.1)]
WHITENED = [*PRIORS, low_rank(), low_rank(clip=0.3)]


def reference_draws(prior, keys):
    """Draws by the formulas that the priors used before they had `from_normal`."""
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


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_draws_do_not_depend_on_their_batch(prior):
    assert isinstance(prior, Prior)
    draws = jax.jit(lambda prior, keys: prior.sample(keys))(prior, KEYS[:10])
    assert draws.shape == (10, *prior.event_shape)
    assert draws.dtype == jnp.float32
    order = np.array([7, 1, 4])
    np.testing.assert_allclose(prior.sample(KEYS[order]), draws[order], rtol=1e-6, atol=1e-7)
    assert len(np.unique(draws.reshape(10, -1), axis=0)) == 10


@pytest.mark.parametrize("prior", WHITENED, ids=repr)
def test_draws_are_those_of_older_versions(prior):
    np.testing.assert_array_equal(prior.sample(KEYS[:50]), reference_draws(prior, KEYS[:50]))


@pytest.mark.parametrize("prior", WHITENED, ids=repr)
def test_standard_normal_vectors_become_draws(prior):
    assert isinstance(prior, Whitened)
    z = rng.normal(KEYS, (prior.normal_size,))
    draws = prior.from_normal(z)
    assert draws.dtype == jnp.float32
    assert draws.shape == (len(KEYS), *prior.event_shape)
    other = np.asarray(prior.sample(rng.per_sample(jax.random.key(5), len(KEYS)))).reshape(len(KEYS), -1)
    for one, two in zip(np.asarray(draws).reshape(len(KEYS), -1).T, other.T, strict=True):
        assert stats.ks_2samp(one, two).pvalue > 0.001
    # Each row depends on its own vector alone, and numpy arrays are accepted.
    np.testing.assert_allclose(prior.from_normal(np.asarray(z)[3:5]), draws[3:5], rtol=1e-6, atol=1e-7)


def test_the_origin_is_the_middle_of_each_prior():
    assert_close(correlated_gaussian().from_normal(jnp.zeros((1, 2)))[0], correlated_gaussian().mean)
    assert_close(low_rank().from_normal(jnp.zeros((1, 5)))[0], low_rank().mean)
    assert_close(Uniform((2,), 0.0, 3.0).from_normal(jnp.array([[0.0, 1.0]])), [[1.5, 3 * stats.norm.cdf(1)]], 1e-6)
    assert_close(Normal((2,), 0.1).from_normal(jnp.array([[0.0, 2.0]])), [[0.0, 0.2]], 1e-6)


def test_an_empirical_prior_is_no_map_of_normal_vectors():
    assert not isinstance(Empirical(np.zeros((1, 2, 2, 1), np.uint8)), Whitened)
