"""Inception v3 (Szegedy et al., arXiv 1512.00567): the space of the Frechet Inception Distance (arXiv 1706.08500).

One table of layers and two graphs. "fid" is the network of 2015 that FID was defined with, under PyTorch's names, as
pytorch-fid and torch-fidelity distribute it; "torchvision" is torchvision's `inception_v3`. They differ in their
weights, in three poolings and in what they want as input, so the distances in the two are different numbers.
"""

import dataclasses
import pathlib
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Shaped

from fdrl_jax.features import resize
from fdrl_jax.features.base import Examples, Features, check_images
from fdrl_jax.features.network import (
    Feature,
    Layer,
    Weights,
    check_shapes,
    convolve,
    fold,
    in_batches,
    normalised_shapes,
)
from fdrl_jax.features.weights import read_weights
from fdrl_jax.programs import Program
from fdrl_jax.types import InputError

Graph = Literal["fid", "torchvision"]

SIZE = 299
DIMENSION = 2048
BATCH_SIZE = 32
_EPSILON = 1e-3

# Of the layer behind the features, which tells the two files apart.
_CLASSES = {"fid": 1008, "torchvision": 1000}


class Conv(NamedTuple):
    """Convolution, batch norm, ReLU. `name` is relative to the block it is in."""

    name: str
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"


class Pool(NamedTuple):
    """Pooling of 3x3 pixels. Of stride 1 it keeps the size."""

    kind: Literal["max", "average", "last"]
    stride: int = 1


@dataclasses.dataclass(frozen=True)
class Split:
    """Branches that see the same input; their outputs are joined in this order."""

    branches: tuple["Steps", ...]


@dataclasses.dataclass(frozen=True)
class Block:
    """Steps under a common prefix of their names."""

    name: str
    steps: "Steps"


Steps = tuple[Conv | Pool | Split | Block, ...]


def _stem(name: str, width: int, size: int, stride: int = 1, padding: str = "VALID") -> Conv:
    return Conv(name, width, (size, size), stride, padding)


def _shrink(name: str, width: int) -> Conv:
    return _stem(name, width, 3, stride=2)


def _a(name: str, pooled: int) -> Block:
    return Block(name, (Split((
        (Conv("branch1x1", 64),),
        (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, (5, 5))),
        (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, (3, 3)), Conv("branch3x3dbl_3", 96, (3, 3))),
        (Pool("average"), Conv("branch_pool", pooled)),
    )),))  # fmt: skip


def _b(name: str) -> Block:
    return Block(name, (Split((
        (_shrink("branch3x3", 384),),
        (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, (3, 3)), _shrink("branch3x3dbl_3", 96)),
        (Pool("max", 2),),
    )),))  # fmt: skip


def _c(name: str, n: int) -> Block:
    double = ((n, (1, 1)), (n, (7, 1)), (n, (1, 7)), (n, (7, 1)), (192, (1, 7)))
    return Block(name, (Split((
        (Conv("branch1x1", 192),),
        (Conv("branch7x7_1", n), Conv("branch7x7_2", n, (1, 7)), Conv("branch7x7_3", 192, (7, 1))),
        tuple(Conv(f"branch7x7dbl_{i}", width, kernel) for i, (width, kernel) in enumerate(double, 1)),
        (Pool("average"), Conv("branch_pool", 192)),
    )),))  # fmt: skip


def _d(name: str) -> Block:
    return Block(name, (Split((
        (Conv("branch3x3_1", 192), _shrink("branch3x3_2", 320)),
        (
            Conv("branch7x7x3_1", 192), Conv("branch7x7x3_2", 192, (1, 7)), Conv("branch7x7x3_3", 192, (7, 1)),
            _shrink("branch7x7x3_4", 192),
        ),
        (Pool("max", 2),),
    )),))  # fmt: skip


def _e(name: str, pool: Literal["average", "last"]) -> Block:
    def fork(prefix: str) -> Split:
        return Split(((Conv(f"{prefix}a", 384, (1, 3)),), (Conv(f"{prefix}b", 384, (3, 1)),)))

    return Block(name, (Split((
        (Conv("branch1x1", 320),),
        (Conv("branch3x3_1", 384), fork("branch3x3_2")),
        (Conv("branch3x3dbl_1", 448), Conv("branch3x3dbl_2", 384, (3, 3)), fork("branch3x3dbl_3")),
        (Pool(pool), Conv("branch_pool", 192)),
    )),))  # fmt: skip


NETWORK: Steps = (
    _stem("Conv2d_1a_3x3", 32, 3, stride=2),
    _stem("Conv2d_2a_3x3", 32, 3),
    _stem("Conv2d_2b_3x3", 64, 3, padding="SAME"),
    Pool("max", 2),
    _stem("Conv2d_3b_1x1", 80, 1),
    _stem("Conv2d_4a_3x3", 192, 3),
    Pool("max", 2),
    _a("Mixed_5b", 32), _a("Mixed_5c", 64), _a("Mixed_5d", 64),
    _b("Mixed_6a"),
    _c("Mixed_6b", 128), _c("Mixed_6c", 160), _c("Mixed_6d", 160), _c("Mixed_6e", 192),
    _d("Mixed_7a"),
    _e("Mixed_7b", "average"), _e("Mixed_7c", "last"),
)  # fmt: skip


def kernels() -> dict[str, tuple[int, int, int, int]]:
    """Shape [out, in, h, w] of the kernel of each convolution, by its name in the state_dict."""
    found: dict[str, tuple[int, int, int, int]] = {}

    def walk(steps: Steps, channels: int, prefix: str) -> int:
        for step in steps:
            if isinstance(step, Conv):
                found[prefix + step.name] = (step.width, channels, *step.kernel)
                channels = step.width
            elif isinstance(step, Split):
                channels = sum(walk(branch, channels, prefix) for branch in step.branches)
            elif isinstance(step, Block):
                channels = walk(step.steps, channels, f"{prefix}{step.name}.")
        return channels

    walk(NETWORK, 3, "")
    return found


def shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that a file of weights must have; it may have others."""
    entries: dict[str, tuple[int, ...]] = {}
    for name, kernel in kernels().items():
        entries |= normalised_shapes(f"{name}.conv", f"{name}.bn", kernel)
    return {**entries, "fc.weight": (_CLASSES[graph], DIMENSION), "fc.bias": (_CLASSES[graph],)}


def load(weights: Weights, graph: Graph) -> dict[str, Layer]:
    """The layers of a state_dict by name, batch norms folded in.

    Raises:
      InputError: it is not of this network.
    """
    check_shapes(weights, shapes(graph), f"Inception v3 with {_CLASSES[graph]} classes, {_OF[graph]}")
    return {name: fold(weights, f"{name}.conv", f"{name}.bn", _EPSILON) for name in kernels()}


def pooled(layers: dict[str, Layer], x: Float[Array, "n 299 299 3"], graph: Graph) -> Float[Array, "n 2048"]:
    """Features before dropout and the last layer.

    Args:
      layers: from `load`.
      x: images as the network was trained on: about [-1, 1].
    """
    return _run(NETWORK, layers, x, graph, "").mean(axis=(1, 2))


def _run(steps: Steps, layers: dict[str, Layer], x: Feature, graph: Graph, prefix: str) -> Feature:
    for step in steps:
        if isinstance(step, Conv):
            x = jnp.maximum(convolve(layers[prefix + step.name], x, step.stride, step.padding), 0)
        elif isinstance(step, Pool):
            x = _pool(step, x, graph)
        elif isinstance(step, Split):
            x = jnp.concatenate([_run(branch, layers, x, graph, prefix) for branch in step.branches], axis=3)
        else:
            x = _run(step.steps, layers, x, graph, f"{prefix}{step.name}.")
    return x


def _pool(step: Pool, x: Feature, graph: Graph) -> Feature:
    window, strides = (1, 3, 3, 1), (1, step.stride, step.stride, 1)
    # The last block of the network of 2015 takes the maximum, against its paper.
    if step.kind == "max" or (step.kind == "last" and graph == "fid"):
        return lax.reduce_window(x, -np.inf, lax.max, window, strides, "SAME" if step.stride == 1 else "VALID")
    total = lax.reduce_window(x, 0.0, lax.add, window, strides, "SAME")
    if graph == "torchvision":
        return total / 9  # The padding counts.
    return total / lax.reduce_window(jnp.ones((1, *x.shape[1:3], 1)), 0.0, lax.add, window, strides, "SAME")


_compiled = Program(pooled, static_argnames=("graph",))

_OF = {"fid": "as pytorch-fid and torch-fidelity distribute it", "torchvision": "as torchvision distributes it"}


def inception(weights: str | pathlib.Path, batch_size: int = BATCH_SIZE) -> Features:
    """The 2048 pooled features that FID is defined in. `takes` uint8.

    Args:
      weights: pt_inception-2015-12-05-6726825d.pth or the same as .safetensors.
      batch_size: how many images the device works on at a time.

    Raises:
      InputError: the file cannot be read or is not of this network.
    """
    layers, digest = _read(weights, "fid")

    def apply(images: Examples) -> Float[np.ndarray, "n 2048"]:
        check_images("inception", images, "uint8")
        return in_batches(lambda x: _compiled(layers, _fid_input(x), "fid"), images, batch_size, DIMENSION)

    protocol = (
        "pooled features of the FID Inception v3 of 2015-12-05, images in 8 bits, TensorFlow 1's bilinear resize to "
        "299x299 (no half pixel, no antialias), (x - 128) / 128: as pytorch-fid's weights in torch-fidelity"
    )
    return Features("inception", protocol, f"inception-1-{digest}", apply)


def inception_torchvision(weights: str | pathlib.Path, batch_size: int = BATCH_SIZE) -> Features:
    """The 2048 pooled features of torchvision's Inception v3, which the paper's FIDs rest on. `takes` float.

    The code of arXiv 2303.03714 gives pixels in [0, 1], not rounded, to torchvision's network. How it scales them is
    taken from pytorch-fid at the time that it used torchvision's weights, which that code descends from. These
    distances are not FIDs and are comparable with the paper's only.

    Args:
      weights: inception_v3_google-0cc3c7bd.pth or the same as .safetensors.
      batch_size: how many images the device works on at a time.

    Raises:
      InputError: the file cannot be read or is not of this network.
    """
    layers, digest = _read(weights, "torchvision")

    def apply(images: Examples) -> Float[np.ndarray, "n 2048"]:
        check_images("inception-torchvision", images, "float")
        function = lambda x: _compiled(layers, _torchvision_input(x), "torchvision")  # noqa: E731
        return in_batches(function, images, batch_size, DIMENSION)

    protocol = (
        "pooled features of torchvision's inception_v3 (IMAGENET1K_V1), images in [0, 1] not rounded, bilinear resize "
        "to 299x299 with half-pixel centres and no antialias, torchvision's transform_input: as the paper's FIDs"
    )
    return Features("inception-torchvision", protocol, f"inception-torchvision-1-{digest}", apply, takes="float")


def _fid_input(x: Shaped[Array, "n h w 3"]) -> Float[Array, "n 299 299 3"]:
    return (resize.tensorflow1(x.astype(jnp.float32), SIZE, SIZE) - 128) / 128


def _torchvision_input(x: Shaped[Array, "n h w 3"]) -> Float[Array, "n 299 299 3"]:
    x = x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else (x + 1) / 2
    # torchvision's `transform_input`. It undoes a division by ImageNet's deviation that nobody makes here.
    scale = jnp.asarray([0.229, 0.224, 0.225]) / 0.5
    shift = (jnp.asarray([0.485, 0.456, 0.406]) - 0.5) / 0.5
    return resize.half_pixel(x, SIZE, SIZE) * scale + shift


def _read(path: str | pathlib.Path, graph: Graph) -> tuple[dict[str, Layer], str]:
    weights, digest = read_weights(path)
    try:
        return load(weights, graph), digest
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
