"""A Gaussian prior drawn on the host, for a covariance factor that does not fit in the memory of the devices."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Float32

from fdrl_jax.types import InputError, Keys
from fdrl_jax.utils import rng

# Rows of the factor multiplied at a time.
_ROWS = 4096


@dataclass(frozen=True)
class HostGaussian:
    """A `Gaussian` whose arrays stay in the host's memory.

    It is drawn from outside compiled functions, and its draws are then transferred to the devices (`Precomputed`).

    Attributes:
      mean: the mean, [*event] float32.
      factor: a root of the covariance, [D, D] float32; see `Gaussian`.
      clip: bound of the draws, or None; see `Gaussian`.
    """

    mean: Float32[np.ndarray, "*event"]
    factor: Float32[np.ndarray, "d d"]
    clip: float | None = 1.0

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.mean.shape

    def draw(self, keys: Keys) -> Float32[np.ndarray, "batch *event"]:
        """Return one draw for each key, equal to that of `Gaussian.sample` for the same key up to rounding.

        Raises:
          InputError: JAX was started without its CPU backend.
        """
        try:
            cpu = jax.local_devices(backend="cpu")[0]
        except RuntimeError:
            raise InputError(
                "a prior too large for the devices is drawn on the CPU: add cpu to JAX_PLATFORMS, or use prior.rank"
            ) from None
        return self.from_normal(np.asarray(rng.normal(jax.device_put(keys, cpu), (self.normal_size,))))

    @property
    def normal_size(self) -> int:
        """The number of values in a row of `from_normal`."""
        return self.mean.size

    def from_normal(self, z: Float32[Array | np.ndarray, "batch d"]) -> Float32[np.ndarray, "batch *event"]:
        """Return mean + factor z, clipped, as `Gaussian.from_normal` does; computed on the host."""
        z, d = np.asarray(z), self.normal_size
        flat = np.empty_like(z)
        for start in range(0, d, _ROWS):
            stop = min(start + _ROWS, d)
            np.matmul(z, self.factor[start:stop].T, out=flat[:, start:stop])
        x = self.mean + flat.reshape(-1, *self.event_shape)
        return x if self.clip is None else np.clip(x, -self.clip, self.clip)
