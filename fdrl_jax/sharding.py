"""The mesh of all devices of all hosts, and how arrays lie on it. The only module that names mesh axes.

Examples, particles and their keys are split by sample index, in equal parts; everything else is the same on every
device. So the flow needs no communication, and a training step one sum: that of the gradients (`mean_and_max`).
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

# What `per_device` and `constrain` take: split by sample index along the first axis, or the same everywhere.
BY_SAMPLE, SAME = PartitionSpec(_SAMPLES), PartitionSpec()


def mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh of `devices`, by default all of all hosts.

    Those of a host are beside one another, so that a host has one run of the samples.
    """
    ordered = sorted(jax.devices() if devices is None else devices, key=lambda d: (d.process_index, d.id))
    return Mesh(np.array(ordered), (_SAMPLES,), axis_types=(AxisType.Auto,))


def check_divides(what: str, count: int, on: Mesh) -> None:
    """Refuse a number of samples that the devices cannot share equally.

    Raises:
      InputError: `on` has more devices than samples, or their number does not divide that of the samples.
    """
    if count % on.size:
        less = f"fewer than the {on.size} devices" if count < on.size else f"no multiple of the {on.size} devices"
        raise InputError(
            f"{what} = {count} is {less}, which share it equally: use {math.ceil(count / on.size) * on.size}, or fewer "
            "devices (CUDA_VISIBLE_DEVICES, JAX_NUM_CPU_DEVICES)"
        )


def largest_divisor(n: int, at_most: int) -> int:
    """The largest divisor of n that is not above `at_most`; 1 for n = 0."""
    small = [d for d in range(1, math.isqrt(n) + 1) if n % d == 0]
    return max([1, *(d for s in small for d in (s, n // s) if d <= at_most)])


def rounded_up(count: int, on: Mesh) -> int:
    """The least number of samples, at least `count`, that the devices share equally."""
    return math.ceil(count / on.size) * on.size


# --- putting and getting arrays ---


def same(tree: T, on: Mesh | None = None) -> T:
    """A tree of arrays, alike on every host, on every device of `on` (by default the whole mesh)."""
    return put(tree, NamedSharding(on or mesh(), SAME))


def everywhere() -> NamedSharding:
    """Of arrays that are the same on every device of all hosts."""
    return NamedSharding(mesh(), SAME)


def in_rows(devices: Sequence[jax.Device], parts: int) -> tuple[NamedSharding, NamedSharding]:
    """For what lies with its rows in `parts` equal parts (devices beyond as many hold copies), and for what is beside.

    Of one mesh, as XLA wants it of the arrays of one function, where some do not divide.
    """
    # Not make_mesh, which may reorder the devices: all arrays of a compiled function need one order.
    grid = Mesh(np.array(devices).reshape(parts, -1), (_ROWS, _COPIES), axis_types=(AxisType.Auto, AxisType.Auto))
    return NamedSharding(grid, PartitionSpec(_ROWS)), NamedSharding(grid, SAME)


def put(tree: T, where: NamedSharding) -> T:
    """A tree of arrays, alike on every host, laid out as `where` says."""

    def place(x: Any) -> jax.Array:
        if where.is_fully_addressable or (isinstance(x, jax.Array) and not x.is_fully_addressable):
            return jax.device_put(x, where)
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        values = np.asarray(x)
        return jax.make_array_from_callback(values.shape, where, lambda index: values[index])

    return jax.tree.map(place, tree)


def share(count: int, on: Mesh | None = None) -> slice:
    """Which of `count` samples the devices of this host have."""
    on = on or mesh()
    mine = [i for i, device in enumerate(on.devices.flat) if device.process_index == jax.process_index()]
    each = count // on.size
    return slice(mine[0] * each, (mine[-1] + 1) * each)


def by_sample(tree: T, count: int, on: Mesh | None = None) -> T:
    """A tree of arrays [rows of `share(count)`, ...] as arrays [count, ...], split over the devices of all hosts."""
    where = NamedSharding(on or mesh(), BY_SAMPLE)

    def place(x: Any) -> jax.Array:
        if where.is_fully_addressable:
            return jax.device_put(x, where)
        return jax.make_array_from_process_local_data(where, np.asarray(x), (count, *x.shape[1:]))

    return jax.tree.map(place, tree)


def split(x: Any) -> jax.Array:
    """An array alike on every host, split by sample over all devices where they can share it equally."""
    on = mesh()
    if len(x) % on.size:
        return same(x)
    return by_sample(x[share(len(x))], len(x))


def fetch(x: jax.Array) -> np.ndarray:
    """An array in the memory of every host, whole."""
    if x.is_fully_addressable or x.is_fully_replicated:
        return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


# --- hosts ---


def is_first_host() -> bool:
    """Whether this process is the one that writes logs and pictures."""
    return jax.process_index() == 0


def from_first_host(value: float) -> float:
    """The first host's value, so that all decide alike on what may differ by rounding."""
    return value if jax.process_count() == 1 else float(multihost_utils.broadcast_one_to_all(np.float64(value)))


def most(value: int) -> int:
    """The greatest of all hosts' values."""
    return value if jax.process_count() == 1 else int(multihost_utils.process_allgather(np.int32(value)).max())


@contextlib.contextmanager
def first_host_first(what: str) -> Iterator[None]:
    """Run by the first host before the others: it prepares what they then find. `what` names it, each time another."""
    if not is_first_host():
        wait_for_all(what)
    yield
    if is_first_host():
        wait_for_all(what)


def wait_for_all(what: str) -> None:
    """Until every host is here. `what` must be the same on all; with one host it does nothing."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


# --- inside compiled functions; with one device these change nothing ---


def constrain(x: T, spec: PartitionSpec, on: Mesh) -> T:
    """`x`, so laid out there."""
    return x if on.size == 1 else lax.with_sharding_constraint(x, NamedSharding(on, spec))


def per_device(
    function: Callable[..., Any], on: Mesh, in_specs: tuple[PartitionSpec, ...], out_specs: Any
) -> Callable[..., Any]:
    """`function` run by every device on its part of the arguments. Only `mean_and_max` communicates."""
    return function if on.size == 1 else jax.shard_map(function, mesh=on, in_specs=in_specs, out_specs=out_specs)


def own(tree: T, on: Mesh) -> T:
    """In `per_device`, what is the same everywhere, as each device's own.

    The gradient with respect to it is then that of the device's samples alone. Without this JAX would sum it over the
    devices by itself, array by array.
    """
    return tree if on.size == 1 else lax.pcast(tree, _SAMPLES, to="varying")


def mean_and_max(tree: T, value: jax.Array, on: Mesh) -> tuple[T, jax.Array]:
    """In `per_device`, the mean of each device's tree of floats over all of them, and the greatest `value`.

    In one communication, where a maximum by itself would be a second: each device adds its value at a place of its own.
    NaN is greater than any number.
    """
    if on.size == 1:
        return tree, value
    # One array: the sums of many are merged only up to a size that depends on the backend.
    flat, restore = ravel_pytree(tree)
    places = jnp.where(lax.axis_index(_SAMPLES) == jnp.arange(on.size), value, jnp.zeros_like(value))
    sums = lax.psum(jnp.concatenate([flat, places]), _SAMPLES)
    return restore(sums[: -on.size] / on.size), sums[-on.size :].max()


def of_parts(function: Callable[..., tuple[T, jax.Array]], samples: Any, size: int, on: Mesh) -> tuple[T, jax.Array]:
    """`function`, of a mean over samples and a maximum, of a device's; where they are more than `size`, part by part.

    Args:
      function: of trees of samples; a tree of means over them, and a scalar, of which the greatest is taken.
      samples: its arguments, arrays [count, ...] of this device.
      size: of a part, which divides `count` where it is less; 0 takes all at once.
    """
    count = len(jax.tree.leaves(samples)[0])
    if not size or count <= size:
        return function(*samples)
    parts = jax.tree.map(lambda x: x.reshape(count // size, size, *x.shape[1:]), samples)
    start, _ = jax.eval_shape(function, *jax.tree.map(lambda x: x[0], parts))
    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), start)

    def add(totals: T, part: Any) -> tuple[T, jax.Array]:
        means, greatest = function(*part)
        return jax.tree.map(jnp.add, totals, means), greatest

    totals, greatest = lax.scan(add, own(start, on), parts)
    return jax.tree.map(lambda x: x * (size / count), totals), greatest.max()
