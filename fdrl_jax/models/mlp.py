"""The fully connected ratio estimator, for points."""

import flax.linen as nn
from jaxtyping import Array, Float

from fdrl_jax.models.layers import Dense, leaky_relu
from fdrl_jax.types import Output


class MLP(nn.Module):
    """Dense layers with LeakyReLU(0.2) after each, then a dense layer to one output.

    Attributes:
      width: widths of the hidden layers; the paper's Swiss roll uses (64, 64, 64, 64).
      head_bias: initial bias of the last layer; None draws it as PyTorch does.
    """

    width: tuple[int, ...]
    head_bias: float | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "batch *event"]) -> Output:
        x = x.reshape(x.shape[0], -1)
        for features in self.width:
            x = leaky_relu(Dense(features)(x))
        return Dense(1, self.head_bias, name="head")(x)[:, 0]
