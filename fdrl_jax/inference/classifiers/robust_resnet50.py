"""The robustness library's ResNet-50 for CIFAR-10, which the paper uses (Engstrom et al., 2019).

https://github.com/MadryLab/robustness; the file of the network trained with L2 attacks of eps 1.0 is cifar_l2_1_0.pt.
The network is that of He et al. (arXiv 1512.03385), changed for images of 32x32: the stem is a 3x3 convolution of
stride 1, there is no max pool, the stride of a block is that of its 3x3 convolution, and the head averages the
remaining 4x4 pixels. Batch norms are folded into the convolutions before them.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from fdrl_jax.inference.classifiers.base import Classifier, Logits
from fdrl_jax.models.conv import PREPARED, conv2d, with_prepared
from fdrl_jax.models.convert import read_safetensors, read_torch_file
from fdrl_jax.models.folded_batch_norm import Weights, check_shapes, fold, normalised_shapes
from fdrl_jax.types import InputError, Params, Particles

CLASSES = 10

# Number of blocks, inner channels and stride of each stage. The output of a block has four times its inner channels.
STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
_EXPANSION = 4
_STEM = 64

# The constant that PyTorch's BatchNorm2d adds to the variance.
_EPSILON = 1e-5

# The library's mean and standard deviation of CIFAR-10, for pixels in [0, 1]. Its own files store them as tensors,
# which then replace these.
MEAN = (0.4914, 0.4822, 0.4465)
DEVIATION = (0.2023, 0.1994, 0.2010)

# The name of the network in error messages.
_NETWORK = "the robustness library's ResNet-50 for CIFAR-10"


def blocks() -> list[tuple[str, int, int, int]]:
    """Return the name, input channels, inner channels and stride of each block, in order."""
    result, channels = [], _STEM
    for i, (count, width, stride) in enumerate(STAGES, 1):
        for j in range(count):
            result.append((f"layer{i}.{j}", channels, width, stride if j == 0 else 1))
            channels = width * _EXPANSION
    return result


def _has_shortcut(channels: int, width: int, stride: int) -> bool:
    return stride != 1 or channels != width * _EXPANSION


def shapes() -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors in the network's state_dict, by PyTorch's names and in PyTorch's layout."""
    result = normalised_shapes("conv1", "bn1", (_STEM, 3, 3, 3))
    for name, channels, width, stride in blocks():
        out = width * _EXPANSION
        result |= normalised_shapes(f"{name}.conv1", f"{name}.bn1", (width, channels, 1, 1))
        result |= normalised_shapes(f"{name}.conv2", f"{name}.bn2", (width, width, 3, 3))
        result |= normalised_shapes(f"{name}.conv3", f"{name}.bn3", (out, width, 1, 1))
        if _has_shortcut(channels, width, stride):
            result |= normalised_shapes(f"{name}.shortcut.0", f"{name}.shortcut.1", (out, channels, 1, 1))
    return result | {"linear.weight": (CLASSES, STAGES[-1][1] * _EXPANSION), "linear.bias": (CLASSES,)}


def load(path: str | pathlib.Path) -> Classifier:
    """Load the classifier of 32x32x3 images into 10 classes from a file of the library, or from a bare state_dict.

    Args:
      path: .pt, .pth or .safetensors file. Only tensors are read, and no code in the file is run.

    Raises:
      InputError: the file does not exist, is damaged, would run code, or holds another network.
    """
    if not pathlib.Path(path).is_file():
        raise InputError(f"classifier {path} is not a file: is the path right?")
    # The library's checkpoints also hold a function of the learning rate, pickled by dill; with `opaque` it is read
    # without being run.
    is_torch = pathlib.Path(path).suffix != ".safetensors"
    content = read_torch_file(path, opaque=True) if is_torch else read_safetensors(path)
    try:
        if not isinstance(content, dict):
            raise InputError(f"it holds a {type(content).__name__}, not tensors: it is not {_NETWORK}")
        return Classifier(logits, convert(content), str(path), prepare=with_prepared)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def convert(content: Mapping[str, Any], dtype: Any = jnp.float32) -> Params:
    """Return the parameters that `logits` takes, from the content of a file.

    Args:
      content: {"model": state_dict, ...} with names such as module.model.conv1.weight, as the library writes it, or
        with the key "state_dict" in older versions of it; or a bare state_dict, with any of these prefixes or none.
      dtype: dtype of the parameters.

    Raises:
      InputError: a tensor is missing or has another shape; the message names the first.
    """
    inner = next((content[key] for key in ("model", "state_dict") if isinstance(content.get(key), Mapping)), content)
    # The library's attacker holds the same network once more, as attacker.model; those tensors are not used.
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in inner.items()}
    weights: Weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    check_shapes(weights, shapes(), _NETWORK)
    mean, deviation = (
        np.asarray(tensors.get(f"normalizer.new_{key}", default), np.float32).reshape(-1)
        for key, default in (("mean", MEAN), ("std", DEVIATION))
    )
    if mean.shape != (3,) or deviation.shape != (3,) or not (np.isfinite(mean).all() and (deviation > 0).all()):
        raise InputError(
            f"its normalizer has mean {mean} and deviation {deviation}, not three numbers: it is not {_NETWORK}"
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
    """Return logits [batch, 10] for images [batch, 32, 32, 3] in [-1, 1].

    The network was trained on pixels in [0, 1], normalised by mean and standard deviation; both are done here. Values
    outside [-1, 1] are not clipped, because clipping would set their gradient to zero.

    Raises:
      InputError: the images have another shape.
    """
    if x.shape[1:] != (32, 32, 3):
        raise InputError(f"{_NETWORK} takes images [32, 32, 3], not {list(x.shape[1:])}")
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
