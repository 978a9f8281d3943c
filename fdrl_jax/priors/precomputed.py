"""Draws that were computed before a compiled step, passed to it in place of a prior."""

from dataclasses import dataclass

import jax

from fdrl_jax.types import Keys, Particles


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Precomputed:
    """A prior that returns the draws `x`, which a `HostGaussian` made from the keys that `sample` is called with.

    Attributes:
      x: the draws, [batch, *event] float32.
    """

    x: Particles

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.x.shape[1:]

    def sample(self, keys: Keys) -> Particles:
        """Return `x`.

        Raises:
          ValueError: the number of keys is not the number of draws in `x`.
        """
        if len(keys) != len(self.x):
            raise ValueError(f"{len(self.x)} draws for {len(keys)} keys")
        return self.x
