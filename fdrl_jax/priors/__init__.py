"""Priors: the source distributions q' from which the flow starts.

A `Prior` is a frozen pytree with `sample(keys) -> [batch, *event]` float32, where row i of a draw depends on key i
alone. The arrays of a prior are pytree leaves, so that it can be passed to a compiled function; shapes and scalars are
static. `HostGaussian` and `FixedImages` take the place of a prior outside compiled functions.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float

from fdrl_jax.priors.bures_wasserstein import bures_wasserstein as bures_wasserstein
from fdrl_jax.priors.bures_wasserstein import prior_distance as prior_distance
from fdrl_jax.priors.empirical import Empirical as Empirical
from fdrl_jax.priors.fixed_images import FixedImages as FixedImages
from fdrl_jax.priors.gaussian import Gaussian as Gaussian
from fdrl_jax.priors.gaussian import condition as condition
from fdrl_jax.priors.gaussian import fit_gaussian as fit_gaussian
from fdrl_jax.priors.generator import GeneratorPrior as GeneratorPrior
from fdrl_jax.priors.host_gaussian import HostGaussian as HostGaussian
from fdrl_jax.priors.low_rank import LowRankGaussian as LowRankGaussian
from fdrl_jax.priors.low_rank import fit_low_rank as fit_low_rank
from fdrl_jax.priors.low_rank import reduce_rank as reduce_rank
from fdrl_jax.priors.placement import device_memory as device_memory
from fdrl_jax.priors.placement import place as place
from fdrl_jax.priors.placement import placement as placement
from fdrl_jax.priors.precomputed import Precomputed as Precomputed
from fdrl_jax.priors.uniform_and_normal import Normal as Normal
from fdrl_jax.priors.uniform_and_normal import Uniform as Uniform
from fdrl_jax.types import Keys, Particles


@runtime_checkable
class Prior(Protocol):
    """The interface of a prior."""

    @property
    def event_shape(self) -> tuple[int, ...]: ...

    def sample(self, keys: Keys) -> Particles: ...


@runtime_checkable
class Whitened(Protocol):
    """The interface of a prior whose draws are a map of standard normal vectors.

    Two draws of such a prior can be interpolated: through the vectors that they are made from.
    """

    @property
    def event_shape(self) -> tuple[int, ...]: ...

    @property
    def normal_size(self) -> int: ...

    def from_normal(self, z: Float[Array | np.ndarray, "batch d"]) -> Particles | Float[np.ndarray, "batch *event"]: ...
