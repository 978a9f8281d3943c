"""The residual ratio estimator for images, built from a stage table (Table 3 of arXiv 2303.03714)."""

from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from fdrl_jax.models.attention import Attention
from fdrl_jax.models.layers import Conv, Dense, leaky_relu
from fdrl_jax.types import InputError, Output


class Stage(NamedTuple):
    """A row of the stage table: `blocks` residual blocks of `width` channels, the first of them with `stride`."""

    width: int
    blocks: int
    stride: int


class Block(nn.Module):
    """A residual block, conv(stride) - LReLU - conv, plus the shortcut, then LReLU; no normalisation.

    The shortcut is a 1x1 convolution with the same stride where the shape changes, else the identity.
    """

    width: int
    stride: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"]) -> Float[Array, "batch h2 w2 width"]:
        h = leaky_relu(Conv(self.width, stride=self.stride, name="conv1")(x))
        h = Conv(self.width, name="conv2")(h)
        if self.stride != 1 or x.shape[-1] != self.width:
            x = Conv(self.width, size=1, stride=self.stride, name="shortcut")(x)
        return leaky_relu(h + x)


class ResNet(nn.Module):
    """3x3 stem, LReLU (not in Table 3, but in the authors' code), stages of blocks, mean over pixels, dense to one.

    Attributes:
      stem: number of channels of the stem.
      stages: stage table, from the image to the head.
      head_bias: initial bias of the head; None draws it as PyTorch does.
      attention: number of the stage, counted from 1, that self-attention follows; 0 for none.

    Raises:
      InputError: `attention` is not the number of a stage.
    """

    stem: int
    stages: tuple[Stage, ...]
    head_bias: float | None = None
    attention: int = 0

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"]) -> Output:
        if not 0 <= self.attention <= len(self.stages):
            raise InputError(f"attention = {self.attention} must be 0 (none) or a stage, 1 to {len(self.stages)}")
        x = leaky_relu(Conv(self.stem, name="stem")(x))
        for i, stage in enumerate(self.stages):
            for j in range(stage.blocks):
                x = Block(stage.width, stage.stride if j == 0 else 1, name=f"stage{i}_block{j}")(x)
            if self.attention == i + 1:
                x = Attention(name="attention")(x)
        return Dense(1, self.head_bias, name="head")(x.mean(axis=(1, 2)))[:, 0]
