"""Inception v3 (Szegedy et al., arXiv 1512.00567), the network of the Frechet Inception Distance (arXiv 1706.08500).

One table of layers serves two graphs. "fid" is the network of 2015 that FID was defined with, under PyTorch's names, as
pytorch-fid and torch-fidelity distribute it; `inception_fid` makes a feature space of it. "torchvision" is
torchvision's `inception_v3`; `inception_torchvision` makes a feature space of it. The two differ in their weights, in
three poolings and in the input that they expect, so distances in the two spaces are different numbers.
"""

import dataclasses
import pathlib
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from fdrl_jax.evaluation.features.pretrained_weights import read_weights
from fdrl_jax.models.folded_batch_norm import Feature, Layer, Weights, check_shapes, convolve, fold, normalised_shapes
from fdrl_jax.types import InputError
from fdrl_jax.utils.compilation import Program

Graph = Literal["fid", "torchvision"]

SIZE = 299
DIMENSION = 2048
BATCH_SIZE = 32
_EPSILON = 1e-3

# The number of classes of the last layer distinguishes the weight files of the two graphs.
_CLASSES = {"fid": 1008, "torchvision": 1000}
_SOURCE = {"fid": "as pytorch-fid and torch-fidelity distribute it", "torchvision": "as torchvision distributes it"}


class Conv(NamedTuple):
    """Convolution, batch norm and ReLU. `name` is relative to the block that contains it."""

    name: str
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"


class Pool(NamedTuple):
    """Pooling over 3x3 pixels; with stride 1 it keeps the size.

    `kind` "last" is that of the last block: the maximum in the graph "fid", the average in the graph "torchvision".
    """

    kind: Literal["max", "average", "last"]
    stride: int = 1


@dataclasses.dataclass(frozen=True)
class Split:
    """Branches with the same input; their outputs are concatenated over channels, in this order."""

    branches: tuple["Steps", ...]


@dataclasses.dataclass(frozen=True)
class Block:
    """Steps whose names in the state_dict share the prefix `name`."""

    name: str
    steps: "Steps"


Steps = tuple[Conv | Pool | Split | Block, ...]


# The five kinds of block, InceptionA to InceptionE in torchvision, are functions from their name and widths to `Block`.


def _square(name: str, width: int, size: int, stride: int = 1, padding: str = "VALID") -> Conv:
    return Conv(name, width, (size, size), stride, padding)


def _halve(name: str, width: int) -> Conv:
    return _square(name, width, 3, stride=2)


def _block_a(name: str, pool_width: int) -> Block:
    return Block(name, (Split((
        (Conv("branch1x1", 64),),
        (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, (5, 5))),
        (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, (3, 3)), Conv("branch3x3dbl_3", 96, (3, 3))),
        (Pool("average"), Conv("branch_pool", pool_width)),
    )),))  # fmt: skip


def _block_b(name: str) -> Block:
    return Block(name, (Split((
        (_halve("branch3x3", 384),),
        (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, (3, 3)), _halve("branch3x3dbl_3", 96)),
        (Pool("max", 2),),
    )),))  # fmt: skip


def _block_c(name: str, width: int) -> Block:
    double = ((width, (1, 1)), (width, (7, 1)), (width, (1, 7)), (width, (7, 1)), (192, (1, 7)))
    return Block(name, (Split((
        (Conv("branch1x1", 192),),
        (Conv("branch7x7_1", width), Conv("branch7x7_2", width, (1, 7)), Conv("branch7x7_3", 192, (7, 1))),
        tuple(Conv(f"branch7x7dbl_{i}", *spec) for i, spec in enumerate(double, 1)),
        (Pool("average"), Conv("branch_pool", 192)),
    )),))  # fmt: skip


def _block_d(name: str) -> Block:
    return Block(name, (Split((
        (Conv("branch3x3_1", 192), _halve("branch3x3_2", 320)),
        (
            Conv("branch7x7x3_1", 192), Conv("branch7x7x3_2", 192, (1, 7)), Conv("branch7x7x3_3", 192, (7, 1)),
            _halve("branch7x7x3_4", 192),
        ),
        (Pool("max", 2),),
    )),))  # fmt: skip


def _block_e(name: str, pool: Literal["average", "last"]) -> Block:
    def fork(prefix: str) -> Split:
        return Split(((Conv(f"{prefix}a", 384, (1, 3)),), (Conv(f"{prefix}b", 384, (3, 1)),)))

    return Block(name, (Split((
        (Conv("branch1x1", 320),),
        (Conv("branch3x3_1", 384), fork("branch3x3_2")),
        (Conv("branch3x3dbl_1", 448), Conv("branch3x3dbl_2", 384, (3, 3)), fork("branch3x3dbl_3")),
        (Pool(pool), Conv("branch_pool", 192)),
    )),))  # fmt: skip


NETWORK: Steps = (
    _square("Conv2d_1a_3x3", 32, 3, stride=2),
    _square("Conv2d_2a_3x3", 32, 3),
    _square("Conv2d_2b_3x3", 64, 3, padding="SAME"),
    Pool("max", 2),
    _square("Conv2d_3b_1x1", 80, 1),
    _square("Conv2d_4a_3x3", 192, 3),
    Pool("max", 2),
    _block_a("Mixed_5b", 32), _block_a("Mixed_5c", 64), _block_a("Mixed_5d", 64),
    _block_b("Mixed_6a"),
    _block_c("Mixed_6b", 128), _block_c("Mixed_6c", 160), _block_c("Mixed_6d", 160), _block_c("Mixed_6e", 192),
    _block_d("Mixed_7a"),
    _block_e("Mixed_7b", "average"), _block_e("Mixed_7c", "last"),
)  # fmt: skip


def kernels() -> dict[str, tuple[int, int, int, int]]:
    """Return the shape [out, in, h, w] of the kernel of each convolution, by its name in the state_dict."""
    kernel_shapes: dict[str, tuple[int, int, int, int]] = {}

    def walk(steps: Steps, channels: int, prefix: str) -> int:
        for step in steps:
            if isinstance(step, Conv):
                kernel_shapes[prefix + step.name] = (step.width, channels, *step.kernel)
                channels = step.width
            elif isinstance(step, Split):
                channels = sum(walk(branch, channels, prefix) for branch in step.branches)
            elif isinstance(step, Block):
                channels = walk(step.steps, channels, f"{prefix}{step.name}.")
        return channels

    walk(NETWORK, 3, "")
    return kernel_shapes


def shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors that a file of weights must have; it may have others."""
    entries: dict[str, tuple[int, ...]] = {}
    for name, kernel in kernels().items():
        entries |= normalised_shapes(f"{name}.conv", f"{name}.bn", kernel)
    return {**entries, "fc.weight": (_CLASSES[graph], DIMENSION), "fc.bias": (_CLASSES[graph],)}


def load(weights: Weights, graph: Graph) -> dict[str, Layer]:
    """Return the layers of a state_dict by name, with batch norms folded in.

    Raises:
      InputError: the state_dict belongs to another network.
    """
    check_shapes(weights, shapes(graph), f"Inception v3 with {_CLASSES[graph]} classes, {_SOURCE[graph]}")
    return {name: fold(weights, f"{name}.conv", f"{name}.bn", _EPSILON) for name in kernels()}


def pooled(layers: dict[str, Layer], x: Float[Array, "n 299 299 3"], graph: Graph) -> Float[Array, "n 2048"]:
    """Return the pooled features before dropout and the last layer.

    Args:
      layers: result of `load`.
      x: images in the range that the network was trained with, about [-1, 1].
      graph: which of the two networks.
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
    # The last block of the network of 2015 takes the maximum, although its paper says average.
    if step.kind == "max" or (step.kind == "last" and graph == "fid"):
        return lax.reduce_window(x, -np.inf, lax.max, window, strides, "SAME" if step.stride == 1 else "VALID")
    total = lax.reduce_window(x, 0.0, lax.add, window, strides, "SAME")
    if graph == "torchvision":
        return total / 9  # torchvision's average includes the padding.
    return total / lax.reduce_window(jnp.ones((1, *x.shape[1:3], 1)), 0.0, lax.add, window, strides, "SAME")


compiled_pooled = Program(pooled, static_argnames=("graph",))


def read_layers(path: str | pathlib.Path, graph: Graph) -> tuple[dict[str, Layer], str]:
    """Read a file of weights. Return its layers (see `load`) and its SHA-256 in hexadecimal.

    Raises:
      InputError: the file cannot be read or belongs to another network.
    """
    weights, digest = read_weights(path)
    try:
        return load(weights, graph), digest
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
