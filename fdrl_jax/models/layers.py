"""Dense and convolutional Linen layers with PyTorch's default initialisation (`models.initialisation`)."""

import math

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from fdrl_jax.models.conv import PREPARED, conv2d
from fdrl_jax.models.initialisation import uniform_fan_in


def leaky_relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """LeakyReLU with slope 0.2 below zero, as in every network of the paper."""
    return jax.nn.leaky_relu(x, 0.2)


class Dense(nn.Module):
    """A dense layer, x @ kernel + bias: [batch, in] -> [batch, features].

    Attributes:
      features: output width.
      bias_value: constant initial value of the bias; None draws it at random.
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
    """A square convolution with zero padding size // 2: [batch, h, w, in] -> [batch, h/stride, w/stride, features].

    Computed by `models.conv.conv2d`.

    Attributes:
      features: number of output channels.
      size: side of the kernel, odd.
      stride: stride in rows and columns.
      use_bias: whether a bias is added.
    """

    features: int
    size: int = 3
    stride: int = 1
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"]) -> Float[Array, "batch h2 w2 features"]:
        shape = (self.size, self.size, x.shape[-1], self.features)
        fan_in = math.prod(shape[:3])
        kernel = self.param("kernel", uniform_fan_in, shape, fan_in)
        # `with_prepared` stores what is computed from the kernel alone next to it, among the parameters.
        is_prepared = self.has_variable("params", PREPARED)
        x = conv2d(x, kernel, self.stride, self.get_variable("params", PREPARED) if is_prepared else None)
        if self.use_bias:
            x = x + self.param("bias", uniform_fan_in, (self.features,), fan_in)[None, None, None]
        return x
