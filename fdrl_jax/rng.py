"""Named random streams derived from one root key, so that no evolving key is ever stored.

The number that sample `i` of training step `s` uses for purpose `name` is a function of
(seed, name, s, i) alone: not of the batch size, the number of devices, or where a run resumed.
"""

import zlib

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from fdrl_jax.types import Keys


def stream(root: Key[Array, ""], name: str, step: int | Int[Array, ""] = 0) -> Key[Array, ""]:
    """The key of stream `name` at `step`. Any two names (or steps) give independent keys."""
    return jax.random.fold_in(jax.random.fold_in(root, zlib.crc32(name.encode())), step)


def per_sample(key: Key[Array, ""], count: int, first: int | Int[Array, ""] = 0) -> Keys:
    """Keys of samples `first`, ..., `first + count - 1`, each a function of `key` and its index."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, first + jnp.arange(count))


def normal(keys: Keys, event_shape: tuple[int, ...]) -> Array:
    """Standard normal draws, float32 [batch, *event_shape], row i from key i alone."""
    return jax.vmap(lambda key: jax.random.normal(key, event_shape, jnp.float32))(keys)


def uniform(keys: Keys, event_shape: tuple[int, ...], low: float, high: float) -> Array:
    """Draws from U[low, high), float32 [batch, *event_shape], row i from key i alone."""
    return jax.vmap(lambda key: jax.random.uniform(key, event_shape, jnp.float32, low, high))(keys)
