"""The checkpoints of the authors' training: a dict {step, model, optim, ema, scheduler, config} of `torch.save`."""

import pathlib
from typing import Any

from fdrl_jax.models.convert.network import Network
from fdrl_jax.models.convert.safetensors_file import load_safetensors
from fdrl_jax.models.convert.state_dict import from_torch_state_dict
from fdrl_jax.models.convert.torch_file import read_torch_file
from fdrl_jax.types import InputError


def read_checkpoint(
    path: str | pathlib.Path, ema: bool = True, image_size: int | None = None
) -> tuple[Network, dict[str, Any]]:
    """Read the network in a checkpoint, and the config it was trained with, {} where the file has none.

    The number of training steps made is added to the config as `step`, where the file has it.

    Args:
      path: the authors' dict {step, model, optim, ema, scheduler, config}, a bare state_dict, or, by its suffix, a
        .safetensors file.
      ema: whether to take the averaged parameters of the authors' dict; False takes the online ones. The vectors of
        the spectral norm are the online ones in both cases.
      image_size: pixels per side, for a network that is not in Table 3 and whose config does not have it.

    Raises:
      InputError: the file cannot be read, is damaged, could run code, or holds something else.
    """
    if pathlib.Path(path).suffix == ".safetensors":
        return load_safetensors(path, image_size), {}
    content = read_torch_file(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {_kind(content)}, not a checkpoint or state_dict: is it the right file?")
    try:
        if "model" not in content:
            return from_torch_state_dict(content, image_size), {}
        config = content.get("config")
        config = {} if config is None else config
        if not isinstance(config, dict):
            raise InputError(f"'config' is a {_kind(config)}, not a dict: is it a checkpoint of FDRL?")
        if type(content.get("step")) is int:
            # The authors store the index of the last step, counted from 0.
            config = config | {"step": content["step"] + 1}
        config_size = config.get("img_size")
        if image_size is None and type(config_size) is int:
            image_size = config_size
        return from_torch_state_dict(_weights(content, ema), image_size), config
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _weights(content: dict[str, Any], ema: bool) -> dict[str, Any]:
    """Return the state_dict of the online network, with its parameters replaced by the averaged ones if `ema`."""
    model, average = content["model"], content.get("ema")
    if not isinstance(model, dict):
        raise InputError(f"'model' is a {_kind(model)}, not a state_dict: is it a checkpoint of FDRL?")
    if not ema:
        return model
    if not isinstance(average, dict):
        raise InputError("there are no averaged parameters ('ema') in it: take the online ones, ema=False")
    model = {str(name).removeprefix("module."): value for name, value in model.items()}
    average = {str(name).removeprefix("module."): value for name, value in average.items()}
    for name in model:
        if name not in average and not name.endswith((".weight_u", ".weight_v")):
            raise InputError(f"entry {name!r} is missing from 'ema': take the online parameters, ema=False")
    return model | average


def _kind(value: Any) -> str:
    return type(value).__name__
