"""The speed that the machine reaches: FLOP/s of a large matrix product, and bytes/s to and from memory."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp


def flops_rate(dtype: str, small: bool = False) -> float:
    """Return the FLOP/s of a product of square matrices: 8192^3 on an accelerator, 2048^3 on a CPU, 64^3 if `small`."""
    size = 64 if small else 2048 if jax.default_backend() == "cpu" else 8192
    x = jnp.ones((size, size), dtype)
    return 2 * size**3 / _fastest(jax.jit(lambda x: x @ x), x)


def byte_rate(small: bool = False) -> float:
    """Return the bytes/s read and written when an array is negated: 256 MiB, or 1 GiB on an accelerator."""
    size = 2**12 if small else 2**26 if jax.default_backend() == "cpu" else 2**28
    x = jnp.ones(size, jnp.float32)
    return 2 * 4 * size / _fastest(jax.jit(lambda x: -x), x)


def _fastest(function: Callable[[jax.Array], jax.Array], x: jax.Array, rounds: int = 5) -> float:
    """Return the seconds of the fastest of several calls, after one that compiles."""
    jax.block_until_ready(function(x))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(function(x))
        times.append(time.perf_counter() - start)
    return min(times)
