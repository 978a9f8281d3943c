"""Placement of a fitted Gaussian: copied to every device, sharded over the devices, or kept on the host.

At 128x128x3 its factor is 9.7 GB: a small part of the memory of an 80 GB device, most of that of a 16 GB one.
"""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Literal, TypeAlias

import jax
import numpy as np

from fdrl_jax.priors.gaussian import Gaussian
from fdrl_jax.priors.host_gaussian import HostGaussian
from fdrl_jax.priors.low_rank import LowRankGaussian
from fdrl_jax.types import InputError
from fdrl_jax.utils import sharding

Placement: TypeAlias = Literal["replicated", "sharded", "host"]

# The largest share of a device's memory that the factor may take. The rest is for the network's activations over a
# whole flow, the optimiser and the batch.
SHARE = 0.4


def placement(factor_bytes: int, device_memory: int, num_devices: int) -> Placement:
    """Choose the placement of a factor of `factor_bytes`, on `num_devices` devices of `device_memory` bytes each.

    Returns:
      "replicated" if the factor takes at most `SHARE` of the memory of one device: drawing then needs no communication.
      Else "sharded" if an equal part of it does: each device computes its part of every draw. Else "host": a draw costs
      a product on the CPU and a transfer, but needs no memory on a device except that of the draw itself.
    """
    if factor_bytes <= SHARE * device_memory:
        return "replicated"
    return "sharded" if factor_bytes <= SHARE * device_memory * num_devices else "host"


def place(
    prior: Gaussian | LowRankGaussian, devices: Sequence[jax.Device], memory: int | None = None
) -> Gaussian | LowRankGaussian | HostGaussian:
    """Put the arrays of `prior` on the devices or the host, as `placement` chooses.

    A prior that is placed on devices has the same `sample` as before, which works inside compiled functions too.
    CPU devices share the memory of an aligned array, such as the factor of a fit, rather than copy it: do not write to
    it afterwards.

    Args:
      prior: a fitted Gaussian.
      devices: all devices that the compiled functions run on, in the order of their mesh.
      memory: bytes of memory of each device; by default the `device_memory` of the first.

    Raises:
      InputError: a low-rank Gaussian does not fit on the devices.
    """
    large = prior.factor if isinstance(prior, Gaussian) else prior.basis
    # Rows are split into equal blocks or not at all: over the largest number of blocks that divides both the rows and
    # the devices. The remaining devices hold copies.
    parts = math.gcd(large.shape[0], len(devices))
    where = placement(large.nbytes, memory or device_memory(jax.local_devices()[0]), parts)
    if where == "host":
        if isinstance(prior, LowRankGaussian):
            raise InputError(f"prior.rank = {large.shape[1]} is too large for the memory of the devices: lower it")
        return HostGaussian(np.asarray(prior.mean), np.asarray(prior.factor), prior.clip)
    if where == "replicated":
        return sharding.replicate(prior, sharding.mesh(devices))
    split, copied = sharding.row_shardings(devices, parts)
    leaves, tree = jax.tree.flatten(dataclasses.replace(prior, spread=True))
    return jax.tree.unflatten(tree, [sharding.put(x, split if x is large else copied) for x in leaves])


def device_memory(device: jax.Device) -> int:
    """The memory of a device in bytes: the limit that it reports, or for a CPU device its share of the machine's."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // jax.local_device_count(device.platform)
