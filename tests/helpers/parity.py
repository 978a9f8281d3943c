"""Parity with the authors' PyTorch code: its results (tests/goldens/official_parity.npz), its weights, comparisons.

Names and layouts in the file are PyTorch's: kernels are [out, in, h, w], dense weights [out, in], and images
[n, channel, row, column].
"""

import functools
import json
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from paths import GOLDENS

from fdrl_jax import models
from fdrl_jax.models import convert
from fdrl_jax.types import Params


def _architecture(
    stem: int, stages: list[tuple[int, int, int]], pixels: int, attention: int = 0, spectral_norm: bool = False
) -> convert.Architecture:
    table = tuple(models.Stage(*stage) for stage in stages)
    return convert.Architecture(stem, table, attention, spectral_norm, (pixels, pixels, 3))


# Table 3 of arXiv 2303.03714: width, blocks and first stride of each stage.
ARCHITECTURES = {
    "resnet32": _architecture(128, [(128, 3, 1), (256, 3, 2), (256, 3, 2), (256, 3, 2)], 32),
    "resnet32_sn": _architecture(128, [(128, 3, 1), (256, 3, 2), (256, 3, 2), (256, 3, 2)], 32, spectral_norm=True),
    "resnet64": _architecture(64, [(64, 1, 2), (128, 2, 2), (256, 2, 2), (256, 2, 2)], 64),
    "resnet64shallow_sn_attn": _architecture(
        64, [(64, 1, 2), (128, 1, 2), (128, 1, 2), (256, 1, 2)], 64, attention=2, spectral_norm=True
    ),
    "resnet128": _architecture(64, [(64, 1, 2), (128, 1, 2), (128, 2, 2), (256, 2, 2), (256, 2, 2)], 128),
}


@functools.cache
def fixture() -> Mapping[str, np.ndarray]:
    """The arrays of official_parity.npz by name."""
    with np.load(GOLDENS / "official_parity.npz") as arrays:
        return dict(arrays)


def torch_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the network's state_dict, in PyTorch's order."""
    return {key: tuple(shape) for key, shape in json.loads(str(fixture()["meta_json"]))[name]}


@functools.cache
def torch_weights(name: str) -> dict[str, np.ndarray]:
    """The weights that the fixture was computed with.

    Only the vectors of the spectral norm are stored in the file; all other weights are drawn here as they were there.
    """
    weights = {}
    for i, (key, shape) in enumerate(torch_shapes(name).items()):
        if key.endswith(("_u", "_v")):
            weights[key] = fixture()[f"{name}/state/{key}"]
            continue
        scale = math.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 0.1 * math.sqrt(2)
        draws = np.random.default_rng([int(fixture()["seed"]), i]).uniform(-1, 1, shape)
        weights[key] = (draws * scale).astype(np.float32)
    return weights


def mlp_params(get: Callable[[str], np.ndarray]) -> Params:
    """The parameters of MLP((16, 16, 16)) from the state_dict entries that `get` returns by name."""
    layers = ("Dense_0", "Dense_1", "Dense_2", "head")
    return {name: _dense(get, f"mlp.{2 * i}") for i, name in enumerate(layers)}


@functools.cache
def network(name: str) -> convert.Network:
    """The network `name` of `ARCHITECTURES` with the fixture's weights."""
    return convert.from_torch_state_dict(torch_weights(name))


def random_params(estimator: models.Estimator) -> Params:
    """Random parameters in U(-0.3, 0.3). They need no compiled initialisation, which takes seconds."""
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(estimator.init, jax.random.key(0))
    return jax.tree.map(lambda x: jnp.asarray(generator.uniform(-0.3, 0.3, x.shape), x.dtype), shapes)


def nhwc(images: np.ndarray) -> np.ndarray:
    """Images in our layout from PyTorch's [n, channel, row, column]."""
    return np.moveaxis(images, 1, -1)


def assert_close(actual: object, expected: object, tolerance: float = 1e-5, scale: float | None = None) -> None:
    """Assert equal shapes, and that no entry is further from `expected` than `tolerance` * `scale`.

    Args:
      actual: array to check.
      expected: array to compare with.
      tolerance: largest error allowed, relative to `scale`.
      scale: unit of the error; None for the largest entry of `expected`.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    error = np.abs(actual.astype(np.float64) - expected).max() / (scale or np.abs(expected).max())
    assert error <= tolerance, f"the largest error is {error:.2e} times the scale, more than {tolerance:.2e}"


def _dense(get: Callable[[str], np.ndarray], key: str) -> Params:
    return {"kernel": jnp.asarray(get(f"{key}.weight").T), "bias": jnp.asarray(get(f"{key}.bias"))}
