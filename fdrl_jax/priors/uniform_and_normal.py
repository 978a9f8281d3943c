"""Priors without fitted parameters: uniform (the paper's UP) and isotropic normal (its 2-D experiments)."""

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdrl_jax.types import Keys, Particles
from fdrl_jax.utils import rng


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Uniform:
    """U[low, high) in every coordinate; the paper's uniform prior is [-1, 1)."""

    event_shape: tuple[int, ...] = field(metadata={"static": True})
    low: float = field(default=-1.0, metadata={"static": True})
    high: float = field(default=1.0, metadata={"static": True})

    def sample(self, keys: Keys) -> Particles:
        """Return one draw for each key, [batch, *event] float32."""
        return rng.uniform(keys, self.event_shape, self.low, self.high)

    @property
    def normal_size(self) -> int:
        """The number of values in a row of `from_normal`."""
        return math.prod(self.event_shape)

    def from_normal(self, z: Float[Array | np.ndarray, "batch d"]) -> Particles:
        """Return low + (high - low) Phi(z), Phi the normal distribution function: draws if z is standard normal."""
        u = jax.scipy.special.ndtr(jnp.asarray(z)).reshape(-1, *self.event_shape)
        return self.low + (self.high - self.low) * u


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Normal:
    """N(0, scale^2 I), not clipped."""

    event_shape: tuple[int, ...] = field(metadata={"static": True})
    scale: float = field(default=1.0, metadata={"static": True})

    def sample(self, keys: Keys) -> Particles:
        """Return one draw for each key, [batch, *event] float32."""
        return self.scale * rng.normal(keys, self.event_shape)

    @property
    def normal_size(self) -> int:
        """The number of values in a row of `from_normal`."""
        return math.prod(self.event_shape)

    def from_normal(self, z: Float[Array | np.ndarray, "batch d"]) -> Particles:
        """Return scale z: draws if z is standard normal."""
        return self.scale * jnp.asarray(z).reshape(-1, *self.event_shape)
