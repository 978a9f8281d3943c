"""The authors' image networks by the names and shapes of a PyTorch state_dict.

Kernels are [out, in, h, w] there and [h, w, in, out] here, dense weights [out, in] and [in, out], and spectral norm's v
follows its weight. Entries: conv1, layer{i}.{j}.{conv1,conv2,shortcut_conv}, linear and
self_attn_module.{key,query,value,self_att}, each with `.weight`, or with spectral norm `.weight_orig`, `.weight_u` and
`.weight_v`; biases, and self_attn_module.gamma.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdrl_jax import models
from fdrl_jax.convert.network import Architecture, Network
from fdrl_jax.types import InputError

# Table 3 of arXiv 2303.03714: pixels a side by stem and stages (width, blocks, stride).
_PIXELS: dict[tuple[int, tuple[tuple[int, int, int], ...]], int] = {
    (128, ((128, 3, 1), (256, 3, 2), (256, 3, 2), (256, 3, 2))): 32,
    (64, ((64, 1, 2), (128, 2, 2), (256, 2, 2), (256, 2, 2))): 64,
    (64, ((64, 1, 2), (128, 1, 2), (128, 1, 2), (256, 1, 2))): 64,
    (64, ((64, 1, 2), (128, 1, 2), (128, 2, 2), (256, 2, 2), (256, 2, 2))): 128,
}


class _Entry(NamedTuple):
    """One array of a state_dict and its place in our parameters.

    Attributes:
      name: in the state_dict.
      path: in `params` or, for u and v, in `spectral`.
      shape: in the state_dict.
      to_ours, to_torch: from one array to the other.
    """

    name: str
    path: tuple[str, ...]
    shape: tuple[int, ...]
    to_ours: Callable[[np.ndarray], np.ndarray]
    to_torch: Callable[[np.ndarray], np.ndarray]


def from_torch_state_dict(
    mapping: Mapping[str, Any], image_size: int | None = None, architecture: Architecture | None = None
) -> Network:
    """The network whose state_dict this is.

    Stages, channels, spectral norm and attention are read off names and shapes. A stage has stride 2 where its first
    block has a shortcut, and attention follows stage 1 in the 32 px network and stage 2 in others, as in Table 3.

    Args:
      mapping: name -> array of real numbers; names may start with `module.`.
      image_size: pixels a side; by default that of the network in Table 3.
      architecture: what the network is, where those rules do not hold for it.

    Raises:
      InputError: an entry is missing, unknown, of the wrong shape, or not of finite real numbers.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, value in mapping.items():
        name = str(name).removeprefix("module.")
        if name in arrays:
            raise InputError(f"entry {name!r} is there with and without 'module.': keep one of them")
        arrays[name] = _numeric(name, value)
    if architecture is None:
        architecture = _read_off(arrays, image_size)
    entries = list(_entries(architecture))
    unknown = sorted(arrays.keys() - {entry.name for entry in entries})
    for entry in entries:
        if entry.name not in arrays:
            hint = f", and {unknown[0]!r} is not one of its entries" if unknown else ""
            raise InputError(f"entry {entry.name!r} of {_describe(architecture)} is missing{hint}: convert a whole one")
        if arrays[entry.name].shape != entry.shape:
            raise InputError(
                f"entry {entry.name!r} has shape {list(arrays[entry.name].shape)}, not {list(entry.shape)} as in "
                f"{_describe(architecture)}: is it a network of arXiv 2303.03714?"
            )
    if unknown:
        raise InputError(f"entry {unknown[0]!r} does not belong to {_describe(architecture)}: take it out")

    params: dict[str, Any] = {}
    spectral: dict[str, Any] = {}
    for entry in entries:
        tree = spectral if entry.path[-1] in ("u", "v") else params
        for part in entry.path[:-1]:
            tree = tree.setdefault(part, {})
        tree[entry.path[-1]] = jnp.asarray(entry.to_ours(arrays[entry.name]))
    _check_norms(arrays, architecture)
    return Network(architecture, params, spectral)


def to_torch_state_dict(network: Network) -> dict[str, np.ndarray]:
    """The inverse of `from_torch_state_dict`, exact: float32 arrays under the authors' names, without `module.`."""
    state = {}
    for entry in _entries(network.architecture):
        value: Any = network.spectral if entry.path[-1] in ("u", "v") else network.params
        for part in entry.path:
            value = value[part]
        state[entry.name] = np.ascontiguousarray(entry.to_torch(np.asarray(value))).reshape(entry.shape)
    return state


def _check_norms(arrays: Mapping[str, np.ndarray], architecture: Architecture) -> None:
    """What the weights are divided by, u^T W v, is not zero."""
    for name in (entry.name for entry in _entries(architecture) if entry.name.endswith(".weight_u")):
        u, v, weight = (arrays[name.removesuffix("_u") + suffix] for suffix in ("_u", "_v", "_orig"))
        if u @ weight.reshape(len(u), -1) @ v == 0:
            raise InputError(f"entry {name!r} makes a spectral norm of 0: use another checkpoint")


def _numeric(name: str, value: Any) -> np.ndarray:
    """`value` as float32."""
    array = value if isinstance(value, (np.ndarray, np.generic, Array)) else None
    if array is None or not jnp.issubdtype(array.dtype, jnp.floating):
        kind = type(value).__name__ if array is None else f"an array of {array.dtype}"
        raise InputError(f"entry {name!r} is {kind}, not an array of real numbers: convert a state_dict")
    with np.errstate(over="ignore"):
        array = np.asarray(array).astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"entry {name!r} has numbers that are not finite in float32: use a checkpoint before that")
    return array


def _read_off(arrays: Mapping[str, np.ndarray], image_size: int | None) -> Architecture:
    """What the names say of a network. Shapes are compared later, and need not be right here."""
    spectral_norm = any(name.endswith(".weight_orig") for name in arrays)
    weight = ".weight_orig" if spectral_norm else ".weight"

    def channels(layer: str) -> tuple[int, int]:
        """Out and in."""
        if layer + weight not in arrays:
            raise InputError(f"entry {layer + weight!r} is missing: is it a network of arXiv 2303.03714?")
        shape = arrays[layer + weight].shape
        if len(shape) != 4 or 0 in shape:
            raise InputError(f"entry {layer + weight!r} has shape {list(shape)}, which is not that of a convolution")
        return shape[0], shape[1]

    stem, image_channels = channels("conv1")
    # Blocks by stage; gaps in the numbering show as unknown entries.
    found = {tuple(map(int, m.groups())) for name in arrays if (m := re.match(r"layer(\d{1,3})\.(\d{1,3})\.", name))}
    stages: list[models.Stage] = []
    while (len(stages) + 1, 0) in found:
        i = len(stages) + 1
        blocks = next(j for j in range(len(found) + 1) if (i, j) not in found)
        width, _ = channels(f"layer{i}.0.conv1")
        stride = 2 if f"layer{i}.0.shortcut_conv{weight}" in arrays else 1
        stages.append(models.Stage(width, blocks, stride))

    if image_size is not None and (type(image_size) is not int or image_size < 1):
        raise InputError(f"image_size = {image_size!r} must be an integer of at least 1")
    table = (stem, tuple(tuple(stage) for stage in stages))
    known = _PIXELS.get(table)  # type: ignore[arg-type]
    pixels = image_size or known
    if pixels is None:
        raise InputError(
            f"a stem of {stem} and stages (width, blocks, stride) {table[1]} are not in Table 3 of arXiv 2303.03714: "
            "say image_size="
        )
    attends = any(name.startswith("self_attn_module.") for name in arrays)
    attention = (1 if (known or pixels) == 32 else 2) if attends else 0
    if attention > len(stages):
        raise InputError(f"attention follows stage {attention}, and there are {len(stages)}: say architecture=")
    return Architecture(stem, tuple(stages), attention, spectral_norm, (pixels, pixels, image_channels))


def _describe(architecture: Architecture) -> str:
    blocks = "-".join(str(stage.blocks) for stage in architecture.stages)
    extras = [f"attention after stage {architecture.attention}"] if architecture.attention else []
    extras += ["spectral norm"] if architecture.spectral_norm else []
    size = "x".join(map(str, architecture.event_shape))
    return ", ".join([f"the {size} network of {blocks} blocks", *extras])


def _entries(architecture: Architecture) -> Iterator[_Entry]:
    """Every array of the network."""

    def layer(name: str, *path: str, shape: tuple[int, ...], bias: bool = False) -> Iterator[_Entry]:
        kernel = (*path, "kernel")
        rest = shape[1:]  # (in, h, w), or (in,)
        to_last, to_first = (lambda a: np.moveaxis(a, 0, -1)), (lambda a: np.moveaxis(a, -1, 0))

        def weight_to_ours(w: np.ndarray) -> np.ndarray:
            return w.transpose(2, 3, 1, 0) if len(shape) == 4 else w.T

        def weight_to_torch(w: np.ndarray) -> np.ndarray:
            return w.transpose(3, 2, 0, 1) if len(shape) == 4 else w.T

        if architecture.spectral_norm:
            yield _Entry(f"{name}.weight_orig", kernel, shape, weight_to_ours, weight_to_torch)
            yield _Entry(f"{name}.weight_u", (*kernel, "u"), shape[:1], np.asarray, np.asarray)
            yield _Entry(
                f"{name}.weight_v",
                (*kernel, "v"),
                (math.prod(rest),),
                lambda v: to_last(v.reshape(rest)).ravel(),
                lambda v: to_first(v.reshape(*rest[1:], rest[0])).ravel(),
            )
        else:
            yield _Entry(f"{name}.weight", kernel, shape, weight_to_ours, weight_to_torch)
        if bias:
            yield _Entry(f"{name}.bias", (*path, "bias"), shape[:1], np.asarray, np.asarray)

    width = architecture.stem
    yield from layer("conv1", "stem", shape=(width, architecture.event_shape[-1], 3, 3))
    for i, stage in enumerate(architecture.stages):
        for j in range(stage.blocks):
            names, block = f"layer{i + 1}.{j}", f"stage{i}_block{j}"
            yield from layer(f"{names}.conv1", block, "conv1", shape=(stage.width, width, 3, 3))
            yield from layer(f"{names}.conv2", block, "conv2", shape=(stage.width, stage.width, 3, 3))
            if width != stage.width or (j == 0 and stage.stride != 1):
                yield from layer(f"{names}.shortcut_conv", block, "shortcut", shape=(stage.width, width, 1, 1))
            width = stage.width
        if architecture.attention == i + 1:
            for theirs, ours in (("key", "key"), ("query", "query"), ("value", "value"), ("self_att", "out")):
                shape = (width, width // 8, 1, 1) if ours == "out" else (width // 8, width, 1, 1)
                yield from layer(f"self_attn_module.{theirs}", "attention", ours, shape=shape, bias=True)
            yield _Entry("self_attn_module.gamma", ("attention", "gamma"), (), np.asarray, np.asarray)
    yield from layer("linear", "head", shape=(1, width), bias=True)
