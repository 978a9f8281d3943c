"""Draws computed earlier, in place of a prior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdrl_jax.priors import Precomputed, Prior
from fdrl_jax.utils import rng

KEYS = rng.per_sample(jax.random.key(0), 3)


def test_it_returns_its_draws_also_inside_jit():
    draws = jnp.arange(12.0).reshape(3, 2, 2)
    prior = Precomputed(draws)
    assert isinstance(prior, Prior)
    assert prior.event_shape == (2, 2)
    np.testing.assert_array_equal(jax.jit(lambda prior, keys: prior.sample(keys))(prior, KEYS), draws)


def test_another_number_of_keys_is_refused():
    with pytest.raises(ValueError, match="2 draws for 3 keys"):
        Precomputed(jnp.zeros((2, 4))).sample(KEYS)
