"""Convolutions as matrix products: equal to direct ones, and used on a CPU for tiny images and few channels.

Covers: `matmul_conv`.
"""

import re

import hlo
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import assert_close
from random_arrays import normal

from fdrl_jax import models
from fdrl_jax.models import matmul_conv
from fdrl_jax.models.conv import conv2d, plain_conv2d, prepared
from fdrl_jax.utils.compilation import Program

# Rounding errors in float32, relative to the largest entry.
TOLERANCE = 2e-6


@pytest.mark.parametrize(("size", "side"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2), (5, 3)])
def test_tiny_images(size, side):
    assert side in matmul_conv.tiny_sides(size)
    x, kernel = normal((4, side, side, 3)), normal((size, size, 3, 5), seed=1)
    assert_close(matmul_conv.convolve_tiny(x, matmul_conv.whole(kernel, side)), plain_conv2d(x, kernel, 1), TOLERANCE)


@pytest.mark.parametrize(
    ("size", "shape"), [(1, (2, 3, 4, 5)), (3, (2, 6, 6, 4)), (3, (3, 7, 2, 1)), (5, (1, 1, 4, 2))]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_few_outputs(size, shape, channels):
    x, kernel = normal(shape), normal((size, size, shape[-1], channels), seed=1)
    assert_close(matmul_conv.convolve_to_few(x, matmul_conv.taps(kernel), size), plain_conv2d(x, kernel, 1), TOLERANCE)


def test_bfloat16_rounds_only_the_images_and_the_result():
    x, kernel = normal((2, 6, 6, 8), dtype=jnp.bfloat16), normal((3, 3, 8, 3), 1, jnp.bfloat16)
    y = matmul_conv.convolve_to_few(x, matmul_conv.taps(kernel), 3)
    assert y.dtype == jnp.bfloat16
    exact = plain_conv2d(x.astype(jnp.float32), kernel.astype(jnp.float32), 1)
    # The result is rounded once: by half a unit in the last place of each entry.
    np.testing.assert_allclose(y.astype(jnp.float32), exact, rtol=2**-8, atol=1e-5)


def results(conv, shape, channels):
    """A function that returns the convolution and its gradients by image and kernel, and its arguments."""

    def all_three(x, kernel):
        y, pullback = jax.vjp(lambda x, kernel: conv(x, kernel), x, kernel)
        return y, *pullback(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    return all_three, (normal(shape), normal((3, 3, shape[-1], channels), seed=1))


# The result, the input gradient and the kernel gradient are one convolution each, unless a product replaces it.
@pytest.mark.parametrize(
    ("shape", "channels", "convolutions"),
    [
        ((4, 2, 2, 16), 24, 1),  # Tiny images: products for the result and the input gradient.
        ((4, 6, 6, 3), 16, 2),  # The input gradient has few outputs.
        ((4, 6, 6, 16), 3, 2),  # The convolution has few outputs.
        ((4, 6, 6, 16), 16, 3),
        ((4, 2, 3, 16), 16, 3),
    ],
)
@pytest.mark.parametrize("precomputed", [False, True])
def test_conv2d_uses_products_where_they_are_faster(shape, channels, convolutions, precomputed):
    def conv(x, kernel):
        return conv2d(x, kernel, 1, prepared(kernel) if precomputed else None)

    function, arguments = results(conv, shape, channels)
    text = Program(function).lower(*arguments).compile().as_text()
    assert text.count(" convolution(") == convolutions
    expected, _ = results(lambda x, kernel: plain_conv2d(x, kernel, 1), shape, channels)
    for ours, theirs in zip(jax.jit(function)(*arguments), jax.jit(expected)(*arguments), strict=True):
        assert_close(ours, theirs, TOLERANCE)


def test_matrices_of_kernels_are_computed_outside_of_the_flow():
    """The network ends at 2x2 with 24 channels: the loop takes the matrices [96, 96] as inputs."""
    network = models.ResNet(16, (models.Stage(16, 1, 2), models.Stage(24, 1, 2)), 1.0)
    text = hlo.compiled_flow(network)
    made_by = re.findall(r"= f32\[96,96\]\S* ([\w-]+)\(", hlo.loop_body(text))
    assert made_by == ["get-tuple-element"] * 2
