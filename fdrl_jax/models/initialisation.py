"""Initial values of parameters: PyTorch's default, U(-1/sqrt(fan_in), 1/sqrt(fan_in)), and the bias of the head.

Flax's default (LeCun normal) has sqrt(3) times the standard deviation of PyTorch's, and trains differently.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from fdrl_jax.types import Parameterisation


def uniform_fan_in(key: Key[Array, ""], shape: tuple[int, ...], fan_in: int) -> Float[Array, "..."]:
    """Draw from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), float32: PyTorch's default for weights and biases."""
    bound = 1 / math.sqrt(fan_in)
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def head_bias(ratio_init: float | None, parameterisation: Parameterisation) -> float | None:
    """Return the head bias at which the ratio of an untrained network is about `ratio_init`.

    With PyTorch's random bias an LSIF network starts near r = 0, and needs thousands of steps to climb to 1 before its
    flow means anything.

    Args:
      ratio_init: ratio to start from; None keeps PyTorch's random bias, and None is returned.
      parameterisation: whether the network's output is r or log r.
    """
    if ratio_init is None or parameterisation == "ratio":
        return ratio_init
    return math.log(ratio_init)
