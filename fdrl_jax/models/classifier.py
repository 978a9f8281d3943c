"""The image classifier of class-conditional sampling: the trunk of the ratio's ResNet with a head of logits."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from fdrl_jax.models.layers import Conv, Dense, leaky_relu
from fdrl_jax.models.resnet import Block, Stage


class CNN(nn.Module):
    """The layers of `models.ResNet` with a logit for each class: [batch, h, w, c] -> [batch, classes].

    Attributes:
      stem: number of channels of the stem.
      stages: stage table, from the image to the head.
      classes: number of classes.
    """

    stem: int
    stages: tuple[Stage, ...]
    classes: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
        x = leaky_relu(Conv(self.stem, name="stem")(x))
        for i, stage in enumerate(self.stages):
            for j in range(stage.blocks):
                x = Block(stage.width, stage.stride if j == 0 else 1, name=f"stage{i}_block{j}")(x)
        return Dense(self.classes, name="head")(x.mean(axis=(1, 2)))

    def start(self, key: Key[Array, ""], event_shape: tuple[int, ...]) -> Any:
        """Draw initial parameters, float32, for images of shape `event_shape`."""
        return self.init(key, jnp.zeros((1, *event_shape)))["params"]

    def logits(self, params: Any, x: Float[Array, "batch h w c"]) -> Float[Array, "batch classes"]:
        """Return the logits at parameters `params`."""
        return jnp.asarray(self.apply({"params": params}, x))
