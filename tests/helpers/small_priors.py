"""Small priors with known moments."""

import jax.numpy as jnp

from fdrl_jax.priors import Gaussian


def correlated_gaussian(clip=None):
    """A Gaussian of two correlated values with standard deviations 0.5 and 0.5 sqrt(1.28), in an event of two axes."""
    return Gaussian(jnp.array([[0.3], [-0.2]]), jnp.array([[0.5, 0.0], [0.4, 0.4]]), clip)
