"""The mesh of all devices of all hosts, and the sharding of arrays over it. Only this module names mesh axes.

Examples, particles and their keys are split by sample index into equal shards; all other arrays are replicated. The
flow therefore needs no communication, and a training step needs one all-reduce, of the gradients (`mean_and_max`).
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from fdrl_jax.types import InputError

T = TypeVar("T")

_SAMPLES, _ROWS, _COPIES = "samples", "rows", "copies"

# The specs that `per_device` and `constrain` take: the first axis split by sample index, or replicated.
BY_SAMPLE, REPLICATED = PartitionSpec(_SAMPLES), PartitionSpec()


def mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return the mesh of `devices`, by default all devices of all hosts.

    The devices of a host are adjacent in it, so that a host holds one contiguous block of the samples.
    """
    ordered = sorted(jax.devices() if devices is None else devices, key=lambda d: (d.process_index, d.id))
    return Mesh(np.array(ordered), (_SAMPLES,), axis_types=(AxisType.Auto,))


def check_divides(what: str, count: int, on: Mesh) -> None:
    """Refuse a number of samples that is not divisible by the number of devices of the mesh `on`.

    Args:
      what: name of the config field, for the message.
      count: number of samples.
      on: the mesh.

    Raises:
      InputError: `count` is not divisible by the number of devices.
    """
    if count % on.size:
        problem = f"fewer than the {on.size} devices" if count < on.size else f"no multiple of the {on.size} devices"
        raise InputError(
            f"{what} = {count} is {problem}, which share it equally: use {round_up(count, on)}, or fewer devices "
            "(CUDA_VISIBLE_DEVICES, JAX_NUM_CPU_DEVICES)"
        )


def largest_divisor(n: int, at_most: int) -> int:
    """Return the largest divisor of n that is at most `at_most`; 1 for n = 0."""
    small = [d for d in range(1, math.isqrt(n) + 1) if n % d == 0]
    return max([1, *(d for s in small for d in (s, n // s) if d <= at_most)])


def round_up(count: int, on: Mesh) -> int:
    """Return `count` rounded up to a multiple of the number of devices."""
    return math.ceil(count / on.size) * on.size


# --- placing arrays on devices, and fetching them ---


def replicate(tree: T, on: Mesh | None = None) -> T:
    """Replicate a tree of arrays, equal on every host, to every device of the mesh `on`, by default all devices."""
    return put(tree, NamedSharding(on or mesh(), REPLICATED))


def replicated() -> NamedSharding:
    """Return the sharding of arrays that are replicated on all devices of all hosts."""
    return NamedSharding(mesh(), REPLICATED)


def row_shardings(devices: Sequence[jax.Device], parts: int) -> tuple[NamedSharding, NamedSharding]:
    """Return the sharding of arrays whose rows are split into `parts` equal blocks, and that of replicated arrays.

    Devices beyond `parts` hold copies. Arrays whose rows do not divide are replicated; both shardings are on one mesh,
    because XLA requires that of all arrays of a compiled function.

    Args:
      devices: the devices, a multiple of `parts`.
      parts: number of blocks.
    """
    # jax.make_mesh may reorder the devices, but all arrays of a compiled function need the same order.
    grid = Mesh(np.array(devices).reshape(parts, -1), (_ROWS, _COPIES), axis_types=(AxisType.Auto, AxisType.Auto))
    return NamedSharding(grid, PartitionSpec(_ROWS)), NamedSharding(grid, REPLICATED)


def put(tree: T, sharding: NamedSharding) -> T:
    """Place a tree of arrays, equal on every host, on devices with the sharding `sharding`."""

    def place(x: Any) -> jax.Array:
        if sharding.is_fully_addressable or (isinstance(x, jax.Array) and not x.is_fully_addressable):
            return jax.device_put(x, sharding)
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        values = np.asarray(x)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    return jax.tree.map(place, tree)


def host_share(count: int, on: Mesh | None = None) -> slice:
    """Return the range of sample indices, out of `count`, that the devices of this host hold."""
    on = on or mesh()
    local = [i for i, device in enumerate(on.devices.flat) if device.process_index == jax.process_index()]
    samples_each = count // on.size
    return slice(local[0] * samples_each, (local[-1] + 1) * samples_each)


def assemble_by_sample(tree: T, count: int, on: Mesh | None = None) -> T:
    """Assemble each host's rows into global arrays [count, ...], split by sample over the devices of all hosts.

    Args:
      tree: arrays whose first axis is this host's range of samples, `host_share(count)`.
      count: number of samples of all hosts together.
      on: the mesh, by default that of all devices.
    """
    sharding = NamedSharding(on or mesh(), BY_SAMPLE)

    def place(x: Any) -> jax.Array:
        if sharding.is_fully_addressable:
            return jax.device_put(x, sharding)
        return jax.make_array_from_process_local_data(sharding, np.asarray(x), (count, *x.shape[1:]))

    return jax.tree.map(place, tree)


def shard_by_sample(x: Any) -> jax.Array:
    """Split an array, equal on every host, by sample over all devices; replicate it if it is not divisible."""
    on = mesh()
    if len(x) % on.size:
        return replicate(x)
    return assemble_by_sample(x[host_share(len(x))], len(x))


def fetch(x: jax.Array) -> np.ndarray:
    """Return a whole array in the memory of every host, including the shards on other hosts."""
    if x.is_fully_addressable or x.is_fully_replicated:
        return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


# --- hosts ---


def is_first_host() -> bool:
    """Return True on the process that writes logs and pictures."""
    return jax.process_index() == 0


def broadcast_from_first_host(value: float) -> float:
    """Return the first host's value on every host, so that all decide alike although rounding may differ."""
    return value if jax.process_count() == 1 else float(multihost_utils.broadcast_one_to_all(np.float64(value)))


def max_over_hosts(value: int) -> int:
    """Return the maximum of all hosts' values, which must fit int32."""
    return value if jax.process_count() == 1 else int(multihost_utils.process_allgather(np.int32(value)).max())


@contextlib.contextmanager
def first_host_first(what: str) -> Iterator[None]:
    """Run the body on the first host before the others, which then find the files that it has prepared.

    Args:
      what: name of the step, the same on every host and different at each use.
    """
    if not is_first_host():
        barrier(what)
    yield
    if is_first_host():
        barrier(what)


def barrier(what: str) -> None:
    """Wait until every host has reached this call; with one host, return at once.

    Args:
      what: name of the barrier, the same on every host.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


# --- inside compiled functions; with one device there is nothing to communicate ---


def constrain(x: T, spec: PartitionSpec, on: Mesh) -> T:
    """Constrain `x` to the sharding `spec` on the mesh `on`."""
    return x if on.size == 1 else lax.with_sharding_constraint(x, NamedSharding(on, spec))


def per_device(
    function: Callable[..., Any], on: Mesh, in_specs: tuple[PartitionSpec, ...], out_specs: Any
) -> Callable[..., Any]:
    """Return `function` as one that every device runs on its shard of the arguments (`jax.shard_map`).

    Inside it only `mean_and_max` communicates.

    Args:
      function: the function of a device's shards.
      on: the mesh.
      in_specs: `BY_SAMPLE` or `REPLICATED` for each argument.
      out_specs: the same for the results.
    """
    return function if on.size == 1 else jax.shard_map(function, mesh=on, in_specs=in_specs, out_specs=out_specs)


def mark_varying(tree: T, on: Mesh) -> T:
    """Mark replicated arrays as different on each device, without changing their values; for use in `per_device`.

    The gradient with respect to them is then that of the device's own samples. Otherwise JAX would sum it over the
    devices, with one communication for every array.
    """
    return tree if on.size == 1 else lax.pcast(tree, _SAMPLES, to="varying")


def mean_and_max(tree: T, value: jax.Array, on: Mesh) -> tuple[T, jax.Array]:
    """Return the mean of a tree of floats and the maximum of a scalar over all devices; for use in `per_device`.

    Both are computed by a single all-reduce. Each device writes its `value` to a slot of its own in a vector of zeros,
    so that the sum of the vectors has all values, and the maximum needs no second communication. NaN counts as the
    largest number.

    Args:
      tree: this device's arrays of floats.
      value: this device's scalar.
      on: the mesh.
    """
    if on.size == 1:
        return tree, value
    # A single array, because XLA merges the sums of several only up to a size that depends on the backend.
    flat, restore = ravel_pytree(tree)
    slots = jnp.where(lax.axis_index(_SAMPLES) == jnp.arange(on.size), value, jnp.zeros_like(value))
    sums = lax.psum(jnp.concatenate([flat, slots]), _SAMPLES)
    return restore(sums[: -on.size] / on.size), sums[-on.size :].max()


def accumulate_microbatches(
    function: Callable[..., tuple[T, jax.Array]], samples: Any, size: int, on: Mesh
) -> tuple[T, jax.Array]:
    """Apply `function` to a device's samples, in microbatches of `size` if there are more than that.

    Args:
      function: function from trees of samples to a tree of means over the samples, and a scalar. The results of the
        microbatches are combined by the mean of the means and the maximum of the scalars.
      samples: sequence of the function's arguments, arrays [count, ...] of this device.
      size: samples in a microbatch; must divide `count` if it is smaller. 0 means no microbatches.
      on: the mesh.

    Returns:
      The means over all samples, and the maximum.
    """
    count = len(jax.tree.leaves(samples)[0])
    if not size or count <= size:
        return function(*samples)
    parts = jax.tree.map(lambda x: x.reshape(count // size, size, *x.shape[1:]), samples)
    shapes, _ = jax.eval_shape(function, *jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def add(totals: T, part: Any) -> tuple[T, jax.Array]:
        means, maximum = function(*part)
        return jax.tree.map(jnp.add, totals, means), maximum

    totals, maxima = lax.scan(add, mark_varying(zeros, on), parts)
    return jax.tree.map(lambda x: x * (size / count), totals), maxima.max()
