"""A converted image network: its architecture and weights in one object that can be called."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdrl_jax import models
from fdrl_jax.models.precision import Precision
from fdrl_jax.types import InputError, Output, Parameterisation, Params


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The description of a network, without its weights.

    Attributes:
      stem: number of channels of the stem.
      stages: stage table.
      attention: number of the stage, counted from 1, that self-attention follows; 0 for none.
      spectral_norm: whether every kernel is divided by its spectral norm.
      event_shape: shape of an image, [H, W, C].
    """

    stem: int
    stages: tuple[models.Stage, ...]
    attention: int
    spectral_norm: bool
    event_shape: tuple[int, int, int]

    def config(self) -> dict[str, Any]:
        """Return the fields of config.model that build this network."""
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
      architecture: description of the network.
      params: parameters as an estimator trains them, before the division by the spectral norm; float32.
      spectral: vectors of the spectral norm, {} without it.
    """

    architecture: Architecture
    params: Params = dataclasses.field(repr=False)
    spectral: models.Spectral = dataclasses.field(repr=False)

    def estimator(self, parameterisation: Parameterisation, precision: Precision = "float32") -> models.Estimator:
        """Return the estimator that `params` and `spectral` belong to.

        Args:
          parameterisation: "ratio" or "log_ratio"; a file of weights does not say which loss they were trained with.
          precision: "bf16" runs the network in bfloat16.
        """
        table = self.architecture
        module = models.ResNet(table.stem, table.stages, attention=table.attention)
        return models.estimator(module, table.event_shape, parameterisation, precision, table.spectral_norm)

    def config(self) -> dict[str, Any]:
        """Return the fields of config.model that build this network."""
        return self.architecture.config()

    def __call__(self, x: Float[Array | np.ndarray, "batch h w c"]) -> Output:
        """Return outputs, float32 [batch]: r or log r, whichever the network was trained for.

        Args:
          x: images [batch, H, W, C] in [-1, 1].

        Raises:
          InputError: the images have another shape.
        """
        shape = self.architecture.event_shape
        if np.shape(x)[1:] != shape:
            raise InputError(f"x has shape {list(np.shape(x))}, not [batch, {', '.join(map(str, shape))}]")
        estimator = self.estimator("ratio")
        return estimator.apply(estimator.effective(self.params, self.spectral), jnp.asarray(x, jnp.float32))
