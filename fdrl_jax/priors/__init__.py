"""Source distributions q' of the flow: each a frozen pytree with `sample(keys) -> [batch, *event]` float32.

Row i of a draw depends on key i alone. Arrays of a prior are pytree leaves, so it can be passed
to a compiled function; shapes and scalars are static.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float

from fdrl_jax.priors.drawn import Drawn as Drawn
from fdrl_jax.priors.empirical import Empirical as Empirical
from fdrl_jax.priors.gaussian import Gaussian as Gaussian
from fdrl_jax.priors.gaussian import condition as condition
from fdrl_jax.priors.gaussian import fit_gaussian as fit_gaussian
from fdrl_jax.priors.generated import Generated as Generated
from fdrl_jax.priors.given import Given as Given
from fdrl_jax.priors.low_rank import LowRankGaussian as LowRankGaussian
from fdrl_jax.priors.low_rank import fit_low_rank as fit_low_rank
from fdrl_jax.priors.low_rank import reduce_rank as reduce_rank
from fdrl_jax.priors.placement import HostGaussian as HostGaussian
from fdrl_jax.priors.placement import device_memory as device_memory
from fdrl_jax.priors.placement import place as place
from fdrl_jax.priors.placement import placement as placement
from fdrl_jax.priors.simple import Normal as Normal
from fdrl_jax.priors.simple import Uniform as Uniform
from fdrl_jax.types import Keys, Particles


@runtime_checkable
class Prior(Protocol):
    """What the rest of the package asks of a prior."""

    @property
    def event_shape(self) -> tuple[int, ...]: ...

    def sample(self, keys: Keys) -> Particles: ...


@runtime_checkable
class Whitened(Protocol):
    """A prior that is a map of standard normal vectors, between which draws can be interpolated."""

    @property
    def event_shape(self) -> tuple[int, ...]: ...

    @property
    def normal_size(self) -> int: ...

    def from_normal(self, z: Float[Array | np.ndarray, "batch d"]) -> Particles | Float[np.ndarray, "batch *event"]: ...
