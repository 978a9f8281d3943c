"""A generator's outputs as a prior, against the moments that a linear generator gives."""

import jax
import jax.numpy as jnp
import numpy as np

from fdrl_jax.priors import GeneratorPrior, Prior
from fdrl_jax.utils import rng

KEYS = rng.per_sample(jax.random.key(0), 4000)


def decode(params, z):
    return (z @ params)[:, :, None]


def test_draws_are_decoded_latent_codes_plus_noise():
    params = jnp.array([[2.0, 0.0, 1.0], [0.0, 0.5, 0.0]])
    clean = GeneratorPrior(params, decode, (2,), (3, 1))
    assert isinstance(clean, Prior)
    draws = clean.sample(KEYS)
    assert (draws.shape, draws.dtype) == ((4000, 3, 1), jnp.float32)
    np.testing.assert_allclose(draws, decode(params, clean.latents(KEYS)), atol=1e-6)
    noise = np.asarray(GeneratorPrior(params, decode, (2,), (3, 1), noise=0.5).sample(KEYS) - draws)
    np.testing.assert_allclose(noise.std(axis=0), 0.5, rtol=4 / np.sqrt(2 * 4000))  # Four standard errors.
    assert abs(np.corrcoef(noise[:, 0, 0], draws[:, 0, 0])[0, 1]) < 4 / np.sqrt(4000)
