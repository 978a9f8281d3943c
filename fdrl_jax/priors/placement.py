"""Where a fitted Gaussian lives: on every device, spread over them, or in the host's memory.

At 128x128x3 its factor is 9.7 GB: a small part of an 80 GB card, most of a 16 GB one.
"""

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Float32

from fdrl_jax import rng, sharding
from fdrl_jax.priors.gaussian import Gaussian
from fdrl_jax.priors.low_rank import LowRankGaussian
from fdrl_jax.types import InputError, Keys

Placement: TypeAlias = Literal["replicated", "sharded", "host"]

# The rest of the memory is for the network's activations over a whole flow, the optimiser and the batch.
SHARE = 0.4

# Rows of a factor multiplied at a time on the host.
_ROWS = 4096


@dataclass(frozen=True)
class HostGaussian:
    """A `Gaussian` that stays in the host's memory: drawn from outside compiled functions, its draws then transferred.

    Attributes:
      mean, factor, clip: as in `Gaussian`.
    """

    mean: Float32[np.ndarray, "*event"]
    factor: Float32[np.ndarray, "d d"]
    clip: float | None = 1.0

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.mean.shape

    def draw(self, keys: Keys) -> Float32[np.ndarray, "batch *event"]:
        """The draws that `Gaussian.sample` makes of the same keys, but for rounding.

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
        """Values in a row of `from_normal`."""
        return self.mean.size

    def from_normal(self, z: Float32[Array | np.ndarray, "batch d"]) -> Float32[np.ndarray, "batch *event"]:
        """As `Gaussian.from_normal`, in the host's memory."""
        z, d = np.asarray(z), self.normal_size
        flat = np.empty_like(z)
        for start in range(0, d, _ROWS):
            stop = min(start + _ROWS, d)
            np.matmul(z, self.factor[start:stop].T, out=flat[:, start:stop])
        x = self.mean + flat.reshape(-1, *self.event_shape)
        return x if self.clip is None else np.clip(x, -self.clip, self.clip)


def placement(factor_bytes: int, device_memory: int, num_devices: int) -> Placement:
    """Where a factor of `factor_bytes` goes, with `num_devices` devices of `device_memory` bytes each.

    "replicated" where it takes at most `SHARE` of one device: drawing then needs no communication. Else "sharded"
    where an equal part of it does: each device computes its part of every draw. Else "host": a draw costs a product
    on the CPU and a transfer, but needs no memory on a device beyond the draw itself.
    """
    if factor_bytes <= SHARE * device_memory:
        return "replicated"
    return "sharded" if factor_bytes <= SHARE * device_memory * num_devices else "host"


def place(
    prior: Gaussian | LowRankGaussian, devices: Sequence[jax.Device], memory: int | None = None
) -> Gaussian | LowRankGaussian | HostGaussian:
    """`prior` where `placement` says; on devices its `sample` works as before, inside compiled functions too.

    CPU devices share an aligned array, as that of a fit, rather than copy it: do not write to it afterwards.

    Args:
      prior: a fitted Gaussian.
      devices: all that the compiled functions run on, in the order of their mesh.
      memory: bytes of each; `device_memory` of the first by default.

    Raises:
      InputError: a low-rank Gaussian does not fit on the devices.
    """
    large = prior.factor if isinstance(prior, Gaussian) else prior.basis
    # Rows are spread evenly or not at all; devices beyond a common divisor hold copies.
    parts = math.gcd(large.shape[0], len(devices))
    where = placement(large.nbytes, memory or device_memory(jax.local_devices()[0]), parts)
    if where == "host":
        if isinstance(prior, LowRankGaussian):
            raise InputError(f"prior.rank = {large.shape[1]} is too large for the memory of the devices: use a smaller")
        return HostGaussian(np.asarray(prior.mean), np.asarray(prior.factor), prior.clip)
    if where == "replicated":
        return sharding.same(prior, sharding.mesh(devices))
    split, copied = sharding.in_rows(devices, parts)
    leaves, tree = jax.tree.flatten(dataclasses.replace(prior, spread=True))
    return jax.tree.unflatten(tree, [sharding.put(x, split if x is large else copied) for x in leaves])


def device_memory(device: jax.Device) -> int:
    """Bytes of memory: what the device reports, or for a CPU device its part of the machine's."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // jax.local_device_count(device.platform)
