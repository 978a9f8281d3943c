"""Networks in .safetensors files, which hold arrays and strings but never code. The only importer of safetensors."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from fdrl_jax import models
from fdrl_jax.models.convert.network import Architecture, Network
from fdrl_jax.models.convert.state_dict import from_torch_state_dict, to_torch_state_dict
from fdrl_jax.types import InputError
from fdrl_jax.utils.atomic_files import atomic
from fdrl_jax.utils.untrusted_files import parse_json

# The key of a JSON object in the file's metadata. It holds the architecture, which cannot always be inferred from names
# and shapes, and a digest, because the format itself does not detect a change in its numbers.
_METADATA = "fdrl_jax"

# Bounds on the architecture in the metadata: a file with larger numbers is damaged, or made to exhaust the memory.
_MAX_NUMBER, _MAX_BLOCKS = 2**16, 1000

# The first bytes of the text file that Git LFS leaves in place of a file it has not downloaded.
_LFS_POINTER = b"version https://git-lfs"


def save_safetensors(path: str | pathlib.Path, network: Network) -> None:
    """Write `network` with the authors' names, float32. A failed write leaves no partial file.

    Raises:
      InputError: the file cannot be written.
    """
    arrays, table = to_torch_state_dict(network), network.architecture
    description = {
        "stem": table.stem,
        "stages": table.stages,
        "attention": table.attention,
        "spectral_norm": table.spectral_norm,
        "event_shape": table.event_shape,
    }
    _save(pathlib.Path(path), arrays, description)


def load_safetensors(path: str | pathlib.Path, image_size: int | None = None) -> Network:
    """Load the network in a file of `save_safetensors`, or in any other with the authors' names.

    Args:
      path: path of the file.
      image_size: pixels per side, for files that `save_safetensors` did not write; see `from_torch_state_dict`.

    Raises:
      InputError: the file cannot be read, is damaged, or holds another kind of network.
    """
    arrays, description = _read(pathlib.Path(path))
    architecture = None
    try:
        if "stem" in description:
            stages = tuple(models.Stage(*stage) for stage in description.pop("stages"))
            event_shape = tuple(description.pop("event_shape"))
            architecture = Architecture(stages=stages, event_shape=event_shape, **description)
            _check_architecture(architecture)
    except (TypeError, ValueError, KeyError) as error:
        raise _damaged(path, error) from None
    try:
        return from_torch_state_dict(arrays, image_size, architecture)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_safetensors(path: str | pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays with any names, and a digest that `read_safetensors` checks. A failed write leaves no partial file.

    Raises:
      InputError: the file cannot be written.
    """
    _save(pathlib.Path(path), arrays, {})


def read_safetensors(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Read the arrays of any .safetensors file, by name.

    Raises:
      InputError: the file cannot be read or is damaged.
    """
    return _read(pathlib.Path(path))[0]


def _save(path: pathlib.Path, arrays: Mapping[str, np.ndarray], description: dict[str, Any]) -> None:
    metadata = {_METADATA: json.dumps(description | {"sha256": _digest(arrays)})}
    try:
        with atomic(path) as temporary:
            # safetensors makes the file readable by its owner only: the usual permissions are put back afterwards.
            temporary.touch()
            mode = temporary.stat().st_mode
            # save_file writes the memory of an array as it is, so the array must be in C order.
            safetensors.numpy.save_file({k: np.asarray(v, order="C") for k, v in arrays.items()}, temporary, metadata)
            temporary.chmod(mode)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path} cannot be written ({error}): choose another place") from None


def _read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read arrays and the description of the network, {} where there is none; check the digest where there is one."""
    if not path.is_file():
        raise InputError(f"{path} is not a file: is the path right?")
    try:
        with path.open("rb") as file:
            if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise ValueError("Git LFS has not fetched it: git lfs pull")
        with safetensors.safe_open(path, framework="numpy") as opened:
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
            metadata = opened.metadata() or {}
        if _METADATA not in metadata:
            return arrays, {}
        description = parse_json(metadata[_METADATA])
        if not isinstance(description, dict) or description.pop("sha256", None) != _digest(arrays):
            raise ValueError("its numbers are not those that were written")
    except Exception as error:  # safetensors, json and numpy raise errors of different types.
        raise _damaged(path, error) from None
    return arrays, description


def _check_architecture(table: Architecture) -> None:
    """Refuse an architecture that no network has, before its layers are listed and compared with the file's.

    Raises:
      ValueError: a number is out of range, or a field has another type.
    """
    numbers = [table.stem, table.attention + 1, *table.event_shape, *(n for stage in table.stages for n in stage)]
    if not all(type(n) is int and 1 <= n <= _MAX_NUMBER for n in numbers) or len(table.event_shape) != 3:
        raise ValueError("its architecture has numbers out of range")
    if sum(stage.blocks for stage in table.stages) > _MAX_BLOCKS or not isinstance(table.spectral_norm, bool):
        raise ValueError("its architecture is not that of a network")


def _damaged(path: str | pathlib.Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:100] or type(error).__name__
    return InputError(f"{path} is damaged, or no .safetensors file ({reason}): copy it again")


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of names, dtypes, shapes and contents, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.asarray(arrays[name], order="C").data)
    return digest.hexdigest()
