"""The ResNet-50 of the robustness library for CIFAR-10, which the paper takes (Engstrom et al., 2019).

https://github.com/MadryLab/robustness; theirs for L2 and eps 1.0 is called cifar_l2_1_0.pt. It is He et al.'s
(arXiv 1512.03385) for images of 32x32: the stem is a 3x3 convolution of stride 1, there is no max pool, the stride of a
block is in its 3x3 convolution, and the head averages the 4x4 pixels that are left. Batch norms are folded into the
convolutions before them.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdrl_jax.classifiers.base import Classifier, Logits
from fdrl_jax.convert import read_safetensors, read_torch_file
from fdrl_jax.features.network import Weights, check_shapes, fold, normalised_shapes
from fdrl_jax.models.conv import PREPARED, conv2d, with_prepared
from fdrl_jax.types import InputError, Params, Particles

CLASSES = 10

# Blocks, channels inside them and stride of each stage; blocks put out four times the channels.
STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
_EXPANSION = 4
_STEM = 64

# What PyTorch's BatchNorm2d adds to the variance.
_EPSILON = 1e-5

# Mean and deviation of the library's CIFAR-10, of pixels in [0, 1]; files of its own have them as tensors.
MEAN = (0.4914, 0.4822, 0.4465)
DEVIATION = (0.2023, 0.1994, 0.2010)

_WHAT = "the robustness library's ResNet-50 for CIFAR-10"


def blocks() -> list[tuple[str, int, int, int]]:
    """Of each block, in order: its name, channels in, channels inside, stride."""
    found, channels = [], _STEM
    for i, (count, width, stride) in enumerate(STAGES, 1):
        for j in range(count):
            found.append((f"layer{i}.{j}", channels, width, stride if j == 0 else 1))
            channels = width * _EXPANSION
    return found


def _has_shortcut(channels: int, width: int, stride: int) -> bool:
    return stride != 1 or channels != width * _EXPANSION


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of its state_dict, by PyTorch's names and in PyTorch's layout."""
    found = normalised_shapes("conv1", "bn1", (_STEM, 3, 3, 3))
    for name, channels, width, stride in blocks():
        out = width * _EXPANSION
        found |= normalised_shapes(f"{name}.conv1", f"{name}.bn1", (width, channels, 1, 1))
        found |= normalised_shapes(f"{name}.conv2", f"{name}.bn2", (width, width, 3, 3))
        found |= normalised_shapes(f"{name}.conv3", f"{name}.bn3", (out, width, 1, 1))
        if _has_shortcut(channels, width, stride):
            found |= normalised_shapes(f"{name}.shortcut.0", f"{name}.shortcut.1", (out, channels, 1, 1))
    return found | {"linear.weight": (CLASSES, STAGES[-1][1] * _EXPANSION), "linear.bias": (CLASSES,)}


def load(path: str | pathlib.Path) -> Classifier:
    """The classifier in a file of that library, or in a bare state_dict of its network; 32x32x3 images, 10 classes.

    Args:
      path: .pt, .pth or .safetensors. Tensors are read; nothing in it is run.

    Raises:
      InputError: the file is not there, damaged, wants to run code, or holds another network.
    """
    if not pathlib.Path(path).is_file():
        raise InputError(f"classifier {path} is not a file: is the path right?")
    # Their checkpoints hold a function of the learning rate beside the tensors, as dill writes it.
    is_torch = pathlib.Path(path).suffix != ".safetensors"
    content = read_torch_file(path, opaque=True) if is_torch else read_safetensors(path)
    try:
        if not isinstance(content, dict):
            raise InputError(f"it holds a {type(content).__name__}, not tensors: it is not {_WHAT}")
        return Classifier(logits, convert(content), str(path), prepare=with_prepared)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def convert(content: Mapping[str, Any], dtype: Any = jnp.float32) -> Params:
    """Parameters for `logits` from what is in such a file.

    Args:
      content: {"model": state_dict, ...} with names such as module.model.conv1.weight, as the library writes it, or
        "state_dict" as it did before; or a state_dict of the network with any of these prefixes or none.
      dtype: of the parameters.

    Raises:
      InputError: a tensor is missing or of another shape; the first is named.
    """
    inner = next((content[key] for key in ("model", "state_dict") if isinstance(content.get(key), Mapping)), content)
    # Its attacker holds the same network again, as attacker.model.
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in inner.items()}
    weights: Weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    check_shapes(weights, shapes(), _WHAT)
    mean, deviation = (
        np.asarray(tensors.get(f"normalizer.new_{key}", default), np.float32).reshape(-1)
        for key, default in (("mean", MEAN), ("std", DEVIATION))
    )
    if mean.shape != (3,) or deviation.shape != (3,) or not (np.isfinite(mean).all() and (deviation > 0).all()):
        raise InputError(
            f"its normalizer has mean {mean} and deviation {deviation}, not three numbers: it is not {_WHAT}"
        )

    params: dict[str, Any] = {"mean": jnp.asarray(mean, dtype), "deviation": jnp.asarray(deviation, dtype)}
    params["conv1"] = fold(weights, "conv1", "bn1", _EPSILON, dtype)
    for name, channels, width, stride in blocks():
        for i in (1, 2, 3):
            params[f"{name}.conv{i}"] = fold(weights, f"{name}.conv{i}", f"{name}.bn{i}", _EPSILON, dtype)
        if _has_shortcut(channels, width, stride):
            params[f"{name}.shortcut"] = fold(weights, f"{name}.shortcut.0", f"{name}.shortcut.1", _EPSILON, dtype)
    params["linear"] = {
        "kernel": jnp.asarray(weights["linear.weight"].T, dtype),
        "bias": jnp.asarray(weights["linear.bias"], dtype),
    }
    return params


def logits(params: Params, x: Particles) -> Logits:
    """Logits [batch, 10] of images [batch, 32, 32, 3] in [-1, 1], which the network sees in [0, 1], normalised.

    Values beyond [-1, 1] go in as they are, so that their gradient is not lost.

    Raises:
      InputError: the images have another shape.
    """
    if x.shape[1:] != (32, 32, 3):
        raise InputError(f"{_WHAT} takes images [32, 32, 3], not {list(x.shape[1:])}")
    x = (0.5 * x + 0.5 - params["mean"]) / params["deviation"]

    def conv(name: str, x: Array, stride: int = 1) -> Array:
        return conv2d(x, params[name]["kernel"], stride, params[name].get(PREPARED)) + params[name]["bias"]

    x = jax.nn.relu(conv("conv1", x))
    for name, channels, width, stride in blocks():
        h = jax.nn.relu(conv(f"{name}.conv1", x))
        h = jax.nn.relu(conv(f"{name}.conv2", h, stride))
        shortcut = conv(f"{name}.shortcut", x, stride) if _has_shortcut(channels, width, stride) else x
        x = jax.nn.relu(conv(f"{name}.conv3", h) + shortcut)
    return x.mean(axis=(1, 2)) @ params["linear"]["kernel"] + params["linear"]["bias"]
