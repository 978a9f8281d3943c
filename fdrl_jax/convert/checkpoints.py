"""What the authors' training writes: checkpoints, and the data-dependent prior as a distribution of PyTorch."""

import math
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float

from fdrl_jax.convert.network import Network
from fdrl_jax.convert.safetensors_file import load_safetensors
from fdrl_jax.convert.state_dict import from_torch_state_dict
from fdrl_jax.convert.torch_file import read_torch_file
from fdrl_jax.pickles import Instance
from fdrl_jax.types import InputError

_DISTRIBUTION = "torch.distributions.multivariate_normal.MultivariateNormal"


def read_checkpoint(
    path: str | pathlib.Path, ema: bool = True, image_size: int | None = None
) -> tuple[Network, dict[str, Any]]:
    """The network in a checkpoint, and the config that it was trained with, {} where the file has none.

    To the config is added `step`, the number of training steps made, where the file says it.

    Args:
      path: the authors' dict {step, model, optim, ema, scheduler, config}, a bare state_dict, or, by its suffix, a
        .safetensors file.
      ema: take the averaged parameters of the authors' dict; False takes the online ones. The vectors of the spectral
        norm are the online ones in both.
      image_size: pixels a side, where the network is not in Table 3 and the config does not say.

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
            config = config | {"step": content["step"] + 1}  # Theirs is the index of the last step.
        stated = config.get("img_size")
        if image_size is None and type(stated) is int:
            image_size = stated
        return from_torch_state_dict(_weights(content, ema), image_size), config
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _weights(content: dict[str, Any], ema: bool) -> dict[str, Any]:
    """The state_dict of the online network, with the averaged parameters in place of its own where asked."""
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


def read_ddp(
    path: str | pathlib.Path, event_shape: tuple[int, int, int] | None = None
) -> tuple[Float[np.ndarray, "h w c"], Float[np.ndarray, "d d"]]:
    """Mean and a factor of the covariance of the authors' data-dependent prior, a pickled MultivariateNormal.

    Theirs is over channels, rows, columns and ours over rows, columns, channels: the factor's rows are put in that
    order, so that it is a root of the covariance but no longer triangular.

    Args:
      path: a file of `torch.save` or `pickle.dump`.
      event_shape: [H, W, C]; by default square with three channels or one.

    Returns:
      float32 mean [H, W, C] and factor [D, D], D = H W C, for `priors.Gaussian`.

    Raises:
      InputError: the file cannot be read, is damaged, could run code, or holds something else.
    """
    content = read_torch_file(path, classes={_DISTRIBUTION})
    if not isinstance(content, Instance):
        raise InputError(f"{path} holds a {_kind(content)}, not a MultivariateNormal: is it the right file?")
    mean, factor = (content.attributes.get(name) for name in ("loc", "_unbroadcasted_scale_tril"))
    for name, value, rank in (("loc", mean, 1), ("_unbroadcasted_scale_tril", factor, 2)):
        if not isinstance(value, np.ndarray) or value.ndim != rank or value.dtype.kind != "f":
            raise InputError(f"{path} has no {name!r} of real numbers and {rank} axes: is it one prior, not a batch?")
        if not np.isfinite(value).all():
            raise InputError(f"{path} has numbers in {name!r} that are not finite: fit the prior again")
    assert isinstance(mean, np.ndarray)
    assert isinstance(factor, np.ndarray)
    if factor.shape != (len(mean), len(mean)):
        raise InputError(f"{path} has a mean of {len(mean)} numbers and a factor {list(factor.shape)}: fit it again")
    shape = _square(len(mean)) if event_shape is None else event_shape
    if shape is None or math.prod(shape) != len(mean):
        images = "square images of 3 channels or 1: say event_shape=(H, W, C)"
        if shape is not None:
            images = f"images {list(shape)}: give the prior of such images"
        raise InputError(f"{path} is over {len(mean)} numbers, not {images}")
    h, w, c = shape
    order = np.arange(len(mean)).reshape(c, h, w).transpose(1, 2, 0)
    return mean[order].astype(np.float32), factor[order.ravel()].astype(np.float32)


def _square(count: int) -> tuple[int, int, int] | None:
    for channels in (3, 1):
        side = math.isqrt(count // channels)
        if channels * side * side == count:
            return side, side, channels
    return None


def _kind(value: Any) -> str:
    return type(value).__name__
