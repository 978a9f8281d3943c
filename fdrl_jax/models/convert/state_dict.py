"""The authors' image networks from a PyTorch state_dict, and back; `layer_names` lists its entries."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdrl_jax.models.convert.layer_names import entries, infer_architecture
from fdrl_jax.models.convert.network import Architecture, Network
from fdrl_jax.types import InputError


def from_torch_state_dict(
    mapping: Mapping[str, Any], image_size: int | None = None, architecture: Architecture | None = None
) -> Network:
    """Return the network that a state_dict belongs to.

    Stages, channels, spectral norm and attention are inferred from names and shapes. A stage has stride 2 where its
    first block has a shortcut, and attention follows stage 1 in the 32 px network and stage 2 in others, as in Table 3.

    Args:
      mapping: arrays of real numbers by name; names may start with `module.`.
      image_size: pixels per side; by default those of the network in Table 3.
      architecture: architecture of a network for which those rules do not hold.

    Raises:
      InputError: an entry is missing, unknown, of the wrong shape, or not of finite real numbers.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, value in mapping.items():
        name = str(name).removeprefix("module.")
        if name in arrays:
            raise InputError(f"entry {name!r} occurs with and without the prefix 'module.': keep one of them")
        arrays[name] = _to_float32(name, value)
    if architecture is None:
        architecture = infer_architecture(arrays, image_size)
    expected = list(entries(architecture))
    unknown = sorted(arrays.keys() - {entry.name for entry in expected})
    for entry in expected:
        if entry.name not in arrays:
            hint = f", and {unknown[0]!r} is not one of its entries" if unknown else ""
            raise InputError(
                f"entry {entry.name!r} of {_describe(architecture)} is missing{hint}: convert a complete state_dict"
            )
        if arrays[entry.name].shape != entry.shape:
            raise InputError(
                f"entry {entry.name!r} has shape {list(arrays[entry.name].shape)}, not {list(entry.shape)} as in "
                f"{_describe(architecture)}: is it a network of arXiv 2303.03714?"
            )
    if unknown:
        raise InputError(f"entry {unknown[0]!r} does not belong to {_describe(architecture)}: remove it")

    params: dict[str, Any] = {}
    spectral: dict[str, Any] = {}
    for entry in expected:
        tree = spectral if entry.path[-1] in ("u", "v") else params
        for part in entry.path[:-1]:
            tree = tree.setdefault(part, {})
        tree[entry.path[-1]] = jnp.asarray(entry.to_ours(arrays[entry.name]))
    _check_norms(arrays, architecture)
    return Network(architecture, params, spectral)


def to_torch_state_dict(network: Network) -> dict[str, np.ndarray]:
    """Return the inverse of `from_torch_state_dict`: float32 arrays under the authors' names, without `module.`.

    The round trip is exact.
    """
    state = {}
    for entry in entries(network.architecture):
        value: Any = network.spectral if entry.path[-1] in ("u", "v") else network.params
        for part in entry.path:
            value = value[part]
        state[entry.name] = np.ascontiguousarray(entry.to_torch(np.asarray(value))).reshape(entry.shape)
    return state


def _check_norms(arrays: Mapping[str, np.ndarray], architecture: Architecture) -> None:
    """Refuse weights whose estimated spectral norm u^T W v, by which they are divided, is zero."""
    for name in (entry.name for entry in entries(architecture) if entry.name.endswith(".weight_u")):
        u, v, weight = (arrays[name.removesuffix("_u") + suffix] for suffix in ("_u", "_v", "_orig"))
        if u @ weight.reshape(len(u), -1) @ v == 0:
            raise InputError(f"entry {name!r} makes a spectral norm of 0: use another checkpoint")


def _to_float32(name: str, value: Any) -> np.ndarray:
    """Return entry `name` as float32; refuse anything but an array of finite real numbers."""
    array = value if isinstance(value, (np.ndarray, np.generic, Array)) else None
    if array is None or not jnp.issubdtype(array.dtype, jnp.floating):
        kind = type(value).__name__ if array is None else f"an array of {array.dtype}"
        raise InputError(f"entry {name!r} is {kind}, not an array of real numbers: convert a state_dict")
    with np.errstate(over="ignore"):
        array = np.asarray(array).astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"entry {name!r} has numbers that are not finite in float32: use an earlier checkpoint")
    return array


def _describe(architecture: Architecture) -> str:
    """Return a short description of a network for error messages."""
    blocks = "-".join(str(stage.blocks) for stage in architecture.stages)
    extras = [f"attention after stage {architecture.attention}"] if architecture.attention else []
    extras += ["spectral norm"] if architecture.spectral_norm else []
    size = "x".join(map(str, architecture.event_shape))
    return ", ".join([f"the {size} network of {blocks} blocks", *extras])
