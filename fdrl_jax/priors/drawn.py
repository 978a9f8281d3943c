"""Draws that were made elsewhere, in the place of a prior."""

from dataclasses import dataclass

import jax

from fdrl_jax.types import Keys, Particles


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Drawn:
    """A prior whose next draws are at hand: what a `HostGaussian` gave for the keys that `sample` is called with.

    Attributes:
      x: [batch, *event] float32.
    """

    x: Particles

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.x.shape[1:]

    def sample(self, keys: Keys) -> Particles:
        """`x`, whose draws must be as many as the keys."""
        if len(keys) != len(self.x):
            raise ValueError(f"{len(self.x)} draws for {len(keys)} keys")
        return self.x
