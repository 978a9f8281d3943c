"""Linen layers with PyTorch's default initialisation, U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

Flax's default (LeCun normal) has sqrt(3) times its standard deviation and trains differently.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from fdrl_jax.models.conv import PREPARED, conv2d


def uniform_fan_in(key: Key[Array, ""], shape: tuple[int, ...], fan_in: int) -> Float[Array, "..."]:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), float32."""
    bound = 1 / math.sqrt(fan_in)
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def leaky_relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Slope 0.2 below zero, in every network of the paper."""
    return jax.nn.leaky_relu(x, 0.2)


class Dense(nn.Module):
    """x @ kernel + bias, [batch, in] -> [batch, features].

    Attributes:
      features: output width.
      bias_value: start the bias at this constant instead of at random.
    """

    features: int
    bias_value: float | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "batch d"]) -> Float[Array, "batch features"]:
        fan_in = x.shape[-1]
        kernel = self.param("kernel", uniform_fan_in, (fan_in, self.features), fan_in)
        if self.bias_value is None:
            bias = self.param("bias", uniform_fan_in, (self.features,), fan_in)
        else:
            bias = self.param("bias", nn.initializers.constant(self.bias_value), (self.features,))
        return x @ kernel + bias[None]


class Conv(nn.Module):
    """A square convolution, zero padding k // 2: [batch, h, w, in] -> [batch, h/s, w/s, features]."""

    features: int
    size: int = 3
    stride: int = 1
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"]) -> Float[Array, "batch h2 w2 features"]:
        shape = (self.size, self.size, x.shape[-1], self.features)
        fan_in = math.prod(shape[:3])
        kernel = self.param("kernel", uniform_fan_in, shape, fan_in)
        known = self.has_variable("params", PREPARED)
        x = conv2d(x, kernel, self.stride, self.get_variable("params", PREPARED) if known else None)
        if self.use_bias:
            x = x + self.param("bias", uniform_fan_in, (self.features,), fan_in)[None, None, None]
        return x
