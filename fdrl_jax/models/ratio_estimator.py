"""The ratio estimator: a Flax network for r or log r as a pair of plain functions, `init` and `apply`."""

from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Key

from fdrl_jax.models.conv import with_prepared
from fdrl_jax.models.precision import Precision, cast, compute_dtype
from fdrl_jax.models.spectral_norm import Spectral, init_vectors, normalise, power_iteration
from fdrl_jax.types import Output, Parameterisation, Params, Particles, RatioFn


@dataclass(frozen=True)
class Estimator:
    """A network for r or log r.

    Attributes:
      init: function from a key to parameters, float32.
      apply: function from effective parameters and particles [batch, *event] to outputs, float32 [batch].
      parameterisation: the meaning of an output, "ratio" or "log_ratio".
      spectral_norm: whether `effective` divides each kernel by its largest singular value.
      compute_dtype: dtype that `apply` casts parameters and particles to, where it is bfloat16; see `models.precision`.
    """

    init: Callable[[Key[Array, ""]], Params]
    apply: Callable[[Params, Particles], Output]
    parameterisation: Parameterisation
    spectral_norm: bool = False
    compute_dtype: DTypeLike = jnp.float32

    def init_spectral(self, key: Key[Array, ""], params: Params) -> Spectral:
        """Draw the initial vectors u and v of the power iteration; {} without spectral norm."""
        return init_vectors(key, params) if self.spectral_norm else {}

    def advance_spectral(self, params: Params, spectral: Spectral) -> Spectral:
        """Return the vectors after one power iteration on `params`."""
        return power_iteration(params, spectral)

    def effective(self, params: Params, spectral: Spectral) -> Params:
        """Return the parameters that `apply` takes: kernels of `params` divided by their spectral norm.

        Without spectral norm this is `params` itself. A whole flow needs one call. Differentiable in `params`.
        """
        return normalise(params, spectral)

    def ratio_fn(self, params: Params) -> RatioFn:
        """Return the estimator at effective parameters `params` as a function of particles, for the flow."""
        # The cast and the prepared kernels are computed here, once, and not again in every step of the flow.
        params = with_prepared(cast(params, self.compute_dtype))
        return lambda x: self.apply(params, x)


def estimator(
    module: nn.Module,
    event_shape: tuple[int, ...],
    parameterisation: Parameterisation,
    precision: Precision = "float32",
    spectral_norm: bool = False,
) -> Estimator:
    """Wrap a Linen module as an `Estimator`.

    Args:
      module: network from [batch, *event] to [batch].
      event_shape: shape of one example, for initialisation.
      parameterisation: whether the module's output is r or log r.
      precision: "bf16" runs the network in bfloat16; parameters and outputs stay float32.
      spectral_norm: whether every kernel is divided by its spectral norm.
    """
    dtype = compute_dtype(precision)

    def init(key: Key[Array, ""]) -> Params:
        return module.init(key, jnp.zeros((1, *event_shape)))["params"]

    def apply(params: Params, x: Particles) -> Output:
        output = module.apply({"params": cast(params, dtype)}, cast(x, dtype))
        return jnp.asarray(output, jnp.float32)

    return Estimator(init, apply, parameterisation, spectral_norm, dtype)
