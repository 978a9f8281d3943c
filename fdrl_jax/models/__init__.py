"""Ratio estimators behind two plain functions; the rest of the package sees no Flax.

To add one: write a Linen module from [batch, *event] to [batch], and wrap it with `estimator`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Key

from fdrl_jax.models.classifier import CNN as CNN
from fdrl_jax.models.conv import with_prepared
from fdrl_jax.models.mlp import MLP as MLP
from fdrl_jax.models.resnet import ResNet as ResNet
from fdrl_jax.models.resnet import Stage as Stage
from fdrl_jax.models.spectral import Spectral as Spectral
from fdrl_jax.models.spectral import init as _init_spectral
from fdrl_jax.models.spectral import normalise, power_iteration
from fdrl_jax.types import Output, Parameterisation, Params, Particles, RatioFn


@dataclass(frozen=True)
class Estimator:
    """A network for r or log r.

    Attributes:
      init: key -> parameters, float32.
      apply: (effective parameters, particles [batch, *event]) -> outputs, float32 [batch].
      parameterisation: what the output is.
      spectral_norm: whether `effective` divides the weights by their largest singular values.
      compute_dtype: what `apply` rounds parameters and particles to.
    """

    init: Callable[[Key[Array, ""]], Params]
    apply: Callable[[Params, Particles], Output]
    parameterisation: Parameterisation
    spectral_norm: bool = False
    compute_dtype: DTypeLike = jnp.float32

    def init_spectral(self, key: Key[Array, ""], params: Params) -> Spectral:
        """The vectors of the spectral norm before training; {} without it. See `models.spectral`."""
        return _init_spectral(key, params) if self.spectral_norm else {}

    def advance_spectral(self, params: Params, spectral: Spectral) -> Spectral:
        """The vectors after one power iteration on `params`."""
        return power_iteration(params, spectral)

    def effective(self, params: Params, spectral: Spectral) -> Params:
        """What `apply` takes, from the parameters that are trained: `params` itself without spectral norm.

        Computed once for a whole flow. Differentiable in `params`.
        """
        return normalise(params, spectral)

    def ratio_fn(self, params: Params) -> RatioFn:
        """The estimator at effective parameters `params`, as the flow takes it."""
        # Here, once, rather than in every step of the flow.
        params = with_prepared(_rounded(params, self.compute_dtype))
        return lambda x: self.apply(params, x)


def estimator(
    module: nn.Module,
    event_shape: tuple[int, ...],
    parameterisation: Parameterisation,
    precision: Literal["float32", "bf16"] = "float32",
    spectral_norm: bool = False,
) -> Estimator:
    """Wrap a Linen module.

    Args:
      module: maps [batch, *event] to [batch].
      event_shape: of one example, for initialisation.
      parameterisation: whether the module's output is r or log r.
      precision: "bf16" runs the network in bfloat16; parameters and outputs stay float32.
      spectral_norm: of every kernel.
    """

    def init(key: Key[Array, ""]) -> Params:
        return module.init(key, jnp.zeros((1, *event_shape)))["params"]

    def apply(params: Params, x: Particles) -> Output:
        if precision == "bf16":
            params, x = _rounded(params, jnp.bfloat16), x.astype(jnp.bfloat16)
        return jnp.asarray(module.apply({"params": params}, x), jnp.float32)

    return Estimator(init, apply, parameterisation, spectral_norm, jnp.bfloat16 if precision == "bf16" else jnp.float32)


def _rounded(params: Params, dtype: DTypeLike) -> Params:
    """Float32 parameters in bfloat16, where the network computes in it; else as they are."""
    return jax.tree.map(lambda p: p.astype(dtype), params) if dtype == jnp.bfloat16 else params


def head_bias(ratio_init: float | None, parameterisation: Parameterisation) -> float | None:
    """The head bias at which an untrained network's ratio is about `ratio_init`; None keeps PyTorch's.

    An LSIF network with PyTorch's bias starts near r = 0 and spends thousands of steps climbing to 1 before
    its flow means anything.
    """
    if ratio_init is None or parameterisation == "ratio":
        return ratio_init
    return math.log(ratio_init)
