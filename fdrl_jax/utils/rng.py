"""Random streams by name, step and sample index, derived from one root key, so that no evolving key is ever stored.

The number that sample `i` of training step `s` uses for purpose `name` is a function of (seed, name, s, i) alone. It
does not depend on the batch size, the number of devices, or the step at which a run resumed.

The numbers equal those of `jax.random`. For threefry keys, which are JAX's default, `fold_in`, `normal` and `uniform`
compute them in this module, because on a CPU `jax.random` compiles each draw to a loop of small kernels. Here a draw is
one kernel. It uses vector instructions if the samples are rows [batch, d]; the compiler does not use them over a last
axis of 2 or 3. `python -m benchmarks.speed.noise` compares the two (docs/performance.md, "Tried").
"""

import math
import zlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Key, UInt32

from fdrl_jax.types import Keys
from fdrl_jax.utils.compilation import nested


def stream(root: Key[Array, ""], name: str, step: int | Int[Array, ""] = 0) -> Key[Array, ""]:
    """Return the key of stream `name` at `step`. Different names or steps give independent keys."""
    return jax.random.fold_in(jax.random.fold_in(root, zlib.crc32(name.encode())), step)


def per_sample(key: Key[Array, ""], count: int, first: int | Int[Array, ""] = 0) -> Keys:
    """Return the keys [count] of samples `first`, ..., `first + count - 1`, each a function of `key` and its index."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, first + jnp.arange(count))


@nested
def fold_in(keys: Keys, data: int | Int[Array, ""]) -> Keys:
    """Return `jax.random.fold_in` of every key with the same integer `data`."""
    if not _is_threefry(keys):
        return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, data)
    words = jax.random.key_data(keys)
    zero = jnp.zeros_like(words[:, 0])
    folded = _threefry(words[:, 0], words[:, 1], zero, zero + jnp.asarray(data).astype(jnp.uint32))
    return jax.random.wrap_key_data(jnp.stack(folded, axis=1), impl=_THREEFRY)


@partial(nested, static_argnames="event_shape")
def normal(keys: Keys, event_shape: tuple[int, ...]) -> Float[Array, "batch *event"]:
    """Draw from N(0, 1): float32 [batch, *event_shape]. Row i depends on key i alone."""
    # The smallest float32 above -1, because erf_inv(-1) is infinite.
    low = np.nextafter(np.float32(-1), np.float32(0))
    x = np.float32(math.sqrt(2)) * lax.erf_inv(_uniform(keys, math.prod(event_shape), low, np.float32(1)))
    return x.reshape(len(keys), *event_shape)


@partial(nested, static_argnames=("event_shape", "low", "high"))
def uniform(keys: Keys, event_shape: tuple[int, ...], low: float, high: float) -> Float[Array, "batch *event"]:
    """Draw from U[low, high): float32 [batch, *event_shape]. Row i depends on key i alone."""
    x = _uniform(keys, math.prod(event_shape), np.float32(low), np.float32(high))
    return x.reshape(len(keys), *event_shape)


def _uniform(keys: Keys, size: int, low: np.float32, high: np.float32) -> Float[Array, "batch size"]:
    # The upper 23 bits become the mantissa of a number in [1, 2); subtracting 1 gives a uniform number in [0, 1).
    one = np.float32(1)
    unit = lax.bitcast_convert_type((_bits(keys, size) >> np.uint32(9)) | one.view(np.uint32), jnp.float32) - one
    return lax.max(low, unit * (high - low) + low)


def _bits(keys: Keys, size: int) -> UInt32[Array, "batch size"]:
    """Draw `size` random 32-bit words from each key."""
    if not _is_threefry(keys):
        return jax.vmap(lambda key: jax.random.bits(key, (size,)))(keys)
    words = jax.random.key_data(keys)
    index = lax.broadcasted_iota(jnp.uint32, (len(keys), size), 1)
    left, right = _threefry(words[:, :1], words[:, 1:], jnp.zeros_like(index), index)
    return left ^ right


_THREEFRY = "threefry2x32"
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def _is_threefry(keys: Keys) -> bool:
    return str(jax.random.key_impl(keys)) == _THREEFRY


def _threefry(key0: Array, key1: Array, x0: Array, x1: Array) -> tuple[Array, Array]:
    """Compute Threefry-2x32 with 20 rounds elementwise, from the two uint32 words of the key and of the counter.

    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
    """
    schedule = (key0, key1, key0 ^ key1 ^ _PARITY)
    x0, x1 = x0 + key0, x1 + key1
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            x0 = x0 + x1
            x1 = ((x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation))) ^ x0
        x0, x1 = x0 + schedule[(i + 1) % 3], x1 + schedule[(i + 2) % 3] + np.uint32(i + 1)
    return x0, x1
