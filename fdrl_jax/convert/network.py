"""An image network with its weights, as a value that can be called."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdrl_jax import models
from fdrl_jax.types import InputError, Output, Parameterisation, Params


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What a network is, besides its numbers.

    Attributes:
      stem: channels of the stem.
      stages: the stage table.
      attention: the stage, counted from 1, that self-attention follows; 0 for none.
      spectral_norm: of every kernel.
      event_shape: of an image, [H, W, C].
    """

    stem: int
    stages: tuple[models.Stage, ...]
    attention: int
    spectral_norm: bool
    event_shape: tuple[int, int, int]

    def config(self) -> dict[str, Any]:
        """The fields of config.model."""
        return {
            "name": "resnet",
            "stem": self.stem,
            "stages": tuple(tuple(stage) for stage in self.stages),
            "attention": self.attention,
            "spectral_norm": self.spectral_norm,
            "ratio_init": None,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A network with its weights; callable.

    Attributes:
      architecture: what it is.
      params: as an estimator trains them: before the division by spectral norm. float32.
      spectral: vectors of the spectral norm, {} without it.
    """

    architecture: Architecture
    params: Params = dataclasses.field(repr=False)
    spectral: models.Spectral = dataclasses.field(repr=False)

    def estimator(
        self, parameterisation: Parameterisation, precision: Literal["float32", "bf16"] = "float32"
    ) -> models.Estimator:
        """The estimator that `params` and `spectral` are of; the parameterisation is a matter of the loss."""
        table = self.architecture
        module = models.ResNet(table.stem, table.stages, attention=table.attention)
        return models.estimator(module, table.event_shape, parameterisation, precision, table.spectral_norm)

    def config(self) -> dict[str, Any]:
        """The fields of config.model that build this network."""
        return self.architecture.config()

    def __call__(self, x: Float[Array | np.ndarray, "batch h w c"]) -> Output:
        """Outputs, float32 [batch]: r or log r, whichever it was trained for.

        Args:
          x: images [batch, H, W, C] in [-1, 1].

        Raises:
          InputError: they have another shape.
        """
        shape = self.architecture.event_shape
        if np.shape(x)[1:] != shape:
            raise InputError(f"x has shape {list(np.shape(x))}, not [batch, {', '.join(map(str, shape))}]")
        estimator = self.estimator("ratio")
        return estimator.apply(estimator.effective(self.params, self.spectral), jnp.asarray(x, jnp.float32))
