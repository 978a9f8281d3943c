"""Winograd's convolution: equal to a direct one, and used on a CPU where it is faster.

Covers: `winograd`.
"""

import re

import hlo
import jax
import jax.numpy as jnp
import pytest
from parity import assert_close
from random_arrays import normal

from fdrl_jax import models
from fdrl_jax.models import winograd
from fdrl_jax.models.conv import conv2d, direct, plain_conv2d, prepared

# Rounding errors in float32, relative to the largest entry: 3e-6 at most here.
TOLERANCE = 5e-6


# Sides that are multiples of 4, sides that are not, and sides smaller than a tile.
@pytest.mark.parametrize("shape", [(2, 8, 8, 5), (1, 7, 10, 3), (3, 4, 12, 2), (2, 1, 2, 3)])
def test_a_convolution_and_its_kernels_gradient(shape):
    x, kernel = normal(shape), normal((3, 3, shape[-1], 4), seed=1)
    expected, pullback = jax.vjp(lambda kernel: plain_conv2d(x, kernel, 1), kernel)
    cotangent = normal(expected.shape, seed=2)
    assert_close(winograd.convolve(x, winograd.prepare(kernel)), expected, TOLERANCE)
    assert_close(winograd.kernel_gradient(x, cotangent), pullback(cotangent)[0], TOLERANCE)


def test_rounding_errors_are_small():
    """The largest error with 128 channels, against float64."""
    x, kernel = normal((2, 16, 16, 128)), normal((3, 3, 128, 128), seed=1)
    with jax.enable_x64(True):
        exact = plain_conv2d(jnp.asarray(x, jnp.float64), jnp.asarray(kernel, jnp.float64), 1)
    assert_close(winograd.convolve(x, winograd.prepare(kernel)), exact, 3e-6)


def test_bfloat16_rounds_only_the_images_and_the_result():
    x, kernel = normal((2, 8, 8, 3), dtype=jnp.bfloat16), normal((3, 3, 3, 4), 1, jnp.bfloat16)
    y = winograd.convolve(x, winograd.prepare(kernel))
    assert y.dtype == winograd.kernel_gradient(x, y).dtype == jnp.bfloat16
    assert winograd.prepare(kernel).dtype == jnp.float32
    # The result is rounded once.
    assert_close(y.astype(jnp.float32), plain_conv2d(x.astype(jnp.float32), kernel.astype(jnp.float32), 1), 2**-8)


def results(conv, kernel, stride):
    """A compiled function that returns the convolution and its gradients by image and kernel, and its arguments."""

    def all_three(x, kernel):
        y, pullback = jax.vjp(lambda x, kernel: conv(x, kernel, stride), x, kernel)
        return y, *pullback(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    return jax.jit(all_three), (normal((2, 8, 8, kernel.shape[2])), kernel)


@pytest.mark.parametrize("precomputed", [False, True])
def test_conv2d_uses_winograd_where_there_are_enough_channels(precomputed):
    kernel = normal((3, 3, 128, 128), seed=1)
    conv = (lambda x, kernel, stride: conv2d(x, kernel, stride, prepared(kernel))) if precomputed else conv2d
    compiled, arguments = results(conv, kernel, 1)
    assert "convolution(" not in compiled.lower(*arguments).compile().as_text()
    expected, _ = results(plain_conv2d, kernel, 1)
    for ours, theirs in zip(compiled(*arguments), expected(*arguments), strict=True):
        assert_close(ours, theirs, TOLERANCE)


@pytest.mark.parametrize(
    ("shape", "stride"), [((3, 3, 128, 64), 1), ((3, 3, 64, 128), 1), ((3, 3, 128, 128), 2), ((5, 5, 128, 128), 1)]
)
def test_other_convolutions_stay_direct(shape, stride):
    compiled, arguments = results(conv2d, normal(shape), stride)
    text = compiled.lower(*arguments).compile().as_text()
    assert "convolution(" in text
    assert "[36," not in text


def test_it_can_be_turned_off():
    kernel = normal((3, 3, 128, 128), seed=1)
    compiled, arguments = results(conv2d, kernel, 1)
    with direct():
        assert "convolution(" in compiled.lower(*arguments).compile().as_text()
    assert "convolution(" not in compiled.lower(*arguments).compile().as_text()


def test_kernels_are_mapped_once_and_only_where_they_are_used():
    """The stages are at 8x8 and 4x4, which is too small: only kernels of the first are mapped, outside of the loop."""
    network = models.ResNet(128, (models.Stage(128, 1, 1), models.Stage(256, 1, 2)), 1.0)
    text = hlo.compiled_flow(network)
    body = hlo.loop_body(text)
    # Two convolutions forward and two back; the other products in the loop are the maps of windows and tiles.
    products = re.findall(r"= f32\[36,16,128\]\S* dot\(", body)
    assert len(products) == 4
    assert "f32[36,128,128]" in text
    kernel_map = "f32[9,16384]"
    assert kernel_map in text
    assert kernel_map not in body
    for unused in ("f32[36,128,256]", "f32[36,256,128]", "f32[36,256,256]"):
        assert unused not in text
