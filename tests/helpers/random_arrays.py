"""Random arrays that are the same in every run."""

import jax
import jax.numpy as jnp
import numpy as np


def normal(shape, seed=0, dtype=jnp.float32):
    """Draw standard normal numbers."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def random_like(tree):
    """Draw standard normal float32 arrays with the shapes of `tree`."""
    generator = np.random.default_rng(5)
    return jax.tree.map(lambda x: jnp.asarray(generator.standard_normal(x.shape), jnp.float32), tree)
