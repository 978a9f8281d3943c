"""Priors with nothing to fit: uniform (the paper's UP) and isotropic normal (its 2-D experiments)."""

from dataclasses import dataclass, field

import jax

from fdrl_jax import rng
from fdrl_jax.types import Keys, Particles


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Uniform:
    """U[low, high) in every coordinate, [-1, 1) for the paper's uniform prior."""

    event_shape: tuple[int, ...] = field(metadata={"static": True})
    low: float = field(default=-1.0, metadata={"static": True})
    high: float = field(default=1.0, metadata={"static": True})

    def sample(self, keys: Keys) -> Particles:
        """Draws [batch, *event] float32, one a key."""
        return rng.uniform(keys, self.event_shape, self.low, self.high)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Normal:
    """N(0, scale^2 I). Not clipped."""

    event_shape: tuple[int, ...] = field(metadata={"static": True})
    scale: float = field(default=1.0, metadata={"static": True})

    def sample(self, keys: Keys) -> Particles:
        """Draws [batch, *event] float32, one a key."""
        return self.scale * rng.normal(keys, self.event_shape)
