"""Convolutions with their batch norms folded in, from a PyTorch state_dict: what the pretrained networks share.

Inception v3 and EfficientNet-Lite0 (`evaluation.features`) and the robust ResNet-50 (`inference.classifiers`) are built
from these functions.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from fdrl_jax.types import InputError

# Tensors of a state_dict by PyTorch's names and in PyTorch's layout.
Weights = Mapping[str, np.ndarray]

# A convolution with its batch norm folded in: "kernel" [h, w, in, out] and "bias" [out], float32.
Layer = dict[str, Array]
Feature = Float[Array, "_n _h _w _c"]


def check_shapes(weights: Weights, shapes: Mapping[str, tuple[int, ...]], what: str) -> None:
    """Refuse weights of another network.

    Args:
      weights: tensors by name.
      shapes: shape of every tensor that must be there.
      what: name of the network, for the message.

    Raises:
      InputError: a tensor in `shapes` is missing, of another shape, or not of finite real numbers; the first is named.
    """
    for name, shape in shapes.items():
        if name not in weights:
            raise InputError(f"tensor {name!r} is missing: it is not {what}")
        tensor = weights[name]
        if not isinstance(tensor, np.ndarray) or tensor.shape != shape:
            actual = f"of shape {list(tensor.shape)}" if isinstance(tensor, np.ndarray) else "no tensor"
            raise InputError(f"tensor {name!r} is {actual}, not of shape {list(shape)}: it is not {what}")
        if tensor.dtype.kind != "f" or not np.isfinite(tensor).all():
            raise InputError(f"tensor {name!r} has entries that are no finite numbers: it is not {what}")


def normalised_shapes(conv: str, norm: str, kernel: tuple[int, int, int, int]) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors of a convolution without bias and of the batch norm after it.

    Args:
      conv: name of the convolution in the state_dict.
      norm: name of the batch norm.
      kernel: shape of the kernel, [out, in, h, w].
    """
    vectors = (f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
    return {f"{conv}.weight": kernel, **dict.fromkeys(vectors, kernel[:1])}


def fold(weights: Weights, conv: str, norm: str, epsilon: float, dtype: Any = jnp.float32) -> Layer:
    """Return one convolution with bias that equals a convolution and the batch norm after it, in evaluation mode.

    Args:
      weights: tensors of the state_dict.
      conv: name of the convolution.
      norm: name of the batch norm.
      epsilon: number that the batch norm adds to the variance.
      dtype: dtype of the result, which is computed in float64.
    """
    kernel, gamma, beta, mean, variance = (
        weights[name].astype(np.float64)
        for name in (f"{conv}.weight", *(f"{norm}.{x}" for x in ("weight", "bias", "running_mean", "running_var")))
    )
    scale = gamma / np.sqrt(variance + epsilon)
    kernel = kernel.transpose(2, 3, 1, 0) * scale
    return {"kernel": jnp.asarray(kernel, dtype), "bias": jnp.asarray(beta - mean * scale, dtype)}


def convolve(layer: Layer, x: Feature, stride: int, padding: str) -> Feature:
    """Apply a convolution and its bias to images or feature maps [n, h, w, c].

    Args:
      layer: result of `fold`.
      x: images or feature maps.
      stride: stride in rows and columns.
      padding: "VALID", or "SAME", which pads as TensorFlow does; with stride 1 that is PyTorch's (k - 1) / 2.
    """
    out = lax.conv_general_dilated(
        x,
        layer["kernel"],
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        # By default accelerators round the factors to fewer bits, and two machines would compute different distances.
        precision=lax.Precision.HIGHEST,
    )
    return out + layer["bias"]
