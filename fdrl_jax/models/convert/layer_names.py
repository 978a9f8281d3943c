"""The names of the authors' layers: every array of a state_dict, its place in our parameters, and the two layouts.

Entries of a state_dict are conv1, layer{i}.{j}.{conv1,conv2,shortcut_conv}, linear and
self_attn_module.{key,query,value,self_att}, each with `.weight`, or with spectral norm `.weight_orig`, `.weight_u` and
`.weight_v`; the biases; and self_attn_module.gamma.

PyTorch's kernels are [out, in, h, w] and ours [h, w, in, out]; its dense weights are [out, in] and ours [in, out]. The
vector v of the spectral norm has the order of its weight's entries.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from fdrl_jax import models
from fdrl_jax.models.convert.network import Architecture
from fdrl_jax.types import InputError

# Table 3 of arXiv 2303.03714: pixels per side by stem and stages (width, blocks, stride).
_PIXELS: dict[tuple[int, tuple[tuple[int, int, int], ...]], int] = {
    (128, ((128, 3, 1), (256, 3, 2), (256, 3, 2), (256, 3, 2))): 32,
    (64, ((64, 1, 2), (128, 2, 2), (256, 2, 2), (256, 2, 2))): 64,
    (64, ((64, 1, 2), (128, 1, 2), (128, 1, 2), (256, 1, 2))): 64,
    (64, ((64, 1, 2), (128, 1, 2), (128, 2, 2), (256, 2, 2), (256, 2, 2))): 128,
}


class Entry(NamedTuple):
    """One array of a state_dict and its place in our parameters.

    Attributes:
      name: name in the state_dict.
      path: keys in `Network.params` or, for u and v, in `Network.spectral`.
      shape: shape in the state_dict.
      to_ours: function from PyTorch's layout to ours.
      to_torch: inverse of `to_ours`.
    """

    name: str
    path: tuple[str, ...]
    shape: tuple[int, ...]
    to_ours: Callable[[np.ndarray], np.ndarray]
    to_torch: Callable[[np.ndarray], np.ndarray]


def entries(architecture: Architecture) -> Iterator[Entry]:
    """Yield every array of the network's state_dict, from the stem to the head."""

    def layer(name: str, *path: str, shape: tuple[int, ...], bias: bool = False) -> Iterator[Entry]:
        kernel = (*path, "kernel")
        rest = shape[1:]  # (in, h, w), or (in,)
        to_last, to_first = (lambda a: np.moveaxis(a, 0, -1)), (lambda a: np.moveaxis(a, -1, 0))

        def weight_to_ours(w: np.ndarray) -> np.ndarray:
            return w.transpose(2, 3, 1, 0) if len(shape) == 4 else w.T

        def weight_to_torch(w: np.ndarray) -> np.ndarray:
            return w.transpose(3, 2, 0, 1) if len(shape) == 4 else w.T

        if architecture.spectral_norm:
            yield Entry(f"{name}.weight_orig", kernel, shape, weight_to_ours, weight_to_torch)
            yield Entry(f"{name}.weight_u", (*kernel, "u"), shape[:1], np.asarray, np.asarray)
            yield Entry(
                f"{name}.weight_v",
                (*kernel, "v"),
                (math.prod(rest),),
                lambda v: to_last(v.reshape(rest)).ravel(),
                lambda v: to_first(v.reshape(*rest[1:], rest[0])).ravel(),
            )
        else:
            yield Entry(f"{name}.weight", kernel, shape, weight_to_ours, weight_to_torch)
        if bias:
            yield Entry(f"{name}.bias", (*path, "bias"), shape[:1], np.asarray, np.asarray)

    width = architecture.stem
    yield from layer("conv1", "stem", shape=(width, architecture.event_shape[-1], 3, 3))
    for i, stage in enumerate(architecture.stages):
        for j in range(stage.blocks):
            names, block = f"layer{i + 1}.{j}", f"stage{i}_block{j}"
            yield from layer(f"{names}.conv1", block, "conv1", shape=(stage.width, width, 3, 3))
            yield from layer(f"{names}.conv2", block, "conv2", shape=(stage.width, stage.width, 3, 3))
            if width != stage.width or (j == 0 and stage.stride != 1):
                yield from layer(f"{names}.shortcut_conv", block, "shortcut", shape=(stage.width, width, 1, 1))
            width = stage.width
        if architecture.attention == i + 1:
            for theirs, ours in (("key", "key"), ("query", "query"), ("value", "value"), ("self_att", "out")):
                shape = (width, width // 8, 1, 1) if ours == "out" else (width // 8, width, 1, 1)
                yield from layer(f"self_attn_module.{theirs}", "attention", ours, shape=shape, bias=True)
            yield Entry("self_attn_module.gamma", ("attention", "gamma"), (), np.asarray, np.asarray)
    yield from layer("linear", "head", shape=(1, width), bias=True)


def infer_architecture(arrays: Mapping[str, np.ndarray], image_size: int | None) -> Architecture:
    """Infer a network from the names and shapes in its state_dict.

    A stage has stride 2 where its first block has a shortcut, and attention follows stage 1 in the 32 px network and
    stage 2 in others, as in Table 3. Shapes are used but not checked: a wrong one shows when they are compared with
    `entries`.

    Args:
      arrays: arrays by name, without the prefix `module.`.
      image_size: pixels per side; by default those of the network in Table 3.

    Raises:
      InputError: a convolution is missing or has no convolution's shape, or no image size is known.
    """
    spectral_norm = any(name.endswith(".weight_orig") for name in arrays)
    weight = ".weight_orig" if spectral_norm else ".weight"

    def channels(layer: str) -> tuple[int, int]:
        """Return the numbers of output and input channels."""
        if layer + weight not in arrays:
            raise InputError(f"entry {layer + weight!r} is missing: is it a network of arXiv 2303.03714?")
        shape = arrays[layer + weight].shape
        if len(shape) != 4 or 0 in shape:
            raise InputError(f"entry {layer + weight!r} has shape {list(shape)}, which is not that of a convolution")
        return shape[0], shape[1]

    stem, image_channels = channels("conv1")
    # Pairs (stage, block). Entries after a gap in the numbering are reported as unknown by the caller.
    blocks = {tuple(map(int, m.groups())) for name in arrays if (m := re.match(r"layer(\d{1,3})\.(\d{1,3})\.", name))}
    stages: list[models.Stage] = []
    while (len(stages) + 1, 0) in blocks:
        i = len(stages) + 1
        count = next(j for j in range(len(blocks) + 1) if (i, j) not in blocks)
        width, _ = channels(f"layer{i}.0.conv1")
        stride = 2 if f"layer{i}.0.shortcut_conv{weight}" in arrays else 1
        stages.append(models.Stage(width, count, stride))

    if image_size is not None and (type(image_size) is not int or image_size < 1):
        raise InputError(f"image_size = {image_size!r} must be an integer of at least 1")
    table = (stem, tuple(tuple(stage) for stage in stages))
    pixels_in_table = _PIXELS.get(table)  # type: ignore[arg-type]
    pixels = image_size or pixels_in_table
    if pixels is None:
        raise InputError(
            f"a stem of {stem} and stages (width, blocks, stride) {table[1]} are not in Table 3 of arXiv 2303.03714: "
            "pass image_size="
        )
    attends = any(name.startswith("self_attn_module.") for name in arrays)
    attention = (1 if (pixels_in_table or pixels) == 32 else 2) if attends else 0
    if attention > len(stages):
        raise InputError(f"attention follows stage {attention}, and there are {len(stages)}: pass architecture=")
    return Architecture(stem, tuple(stages), attention, spectral_norm, (pixels, pixels, image_channels))
