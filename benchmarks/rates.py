"""What the machine reaches: FLOP/s of a large matrix product, bytes/s to and from memory. Best of a few."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp


def flops_rate(dtype: str, small: bool = False) -> float:
    """FLOP/s of a product of square matrices: 8192^3 on an accelerator, 2048^3 on a CPU."""
    size = 64 if small else 2048 if jax.default_backend() == "cpu" else 8192
    x = jnp.ones((size, size), dtype)
    return 2 * size**3 / _best(jax.jit(lambda x: x @ x), x)


def byte_rate(small: bool = False) -> float:
    """Bytes/s read and written, where an array of 256 MiB (1 GiB on an accelerator) is negated."""
    size = 2**12 if small else 2**26 if jax.default_backend() == "cpu" else 2**28
    x = jnp.ones(size, jnp.float32)
    return 2 * 4 * size / _best(jax.jit(lambda x: -x), x)


def _best(function: Callable[[jax.Array], jax.Array], x: jax.Array, rounds: int = 5) -> float:
    jax.block_until_ready(function(x))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        jax.block_until_ready(function(x))
        times.append(time.perf_counter() - start)
    return min(times)
