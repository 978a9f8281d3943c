"""Convolutions of tiny images and to few channels, as matrix products: the same numbers, and used on a CPU."""

import re

import hlo
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdrl_jax import models
from fdrl_jax.models import products
from fdrl_jax.models.conv import conv2d, plain_conv2d, prepared
from fdrl_jax.programs import Program

# Of the largest entry: rounding errors in float32.
TOLERANCE = 2e-6


def normal(shape, seed=0, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def assert_close(actual, expected, tolerance=TOLERANCE):
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(np.asarray(expected)).max())


@pytest.mark.parametrize(("size", "side"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2), (5, 3)])
def test_tiny_images(size, side):
    assert side in products.tiny_sides(size)
    x, kernel = normal((4, side, side, 3)), normal((size, size, 3, 5), seed=1)
    assert_close(products.convolve_tiny(x, products.whole(kernel, side)), plain_conv2d(x, kernel, 1))


@pytest.mark.parametrize(
    ("size", "shape"), [(1, (2, 3, 4, 5)), (3, (2, 6, 6, 4)), (3, (3, 7, 2, 1)), (5, (1, 1, 4, 2))]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_few_outputs(size, shape, channels):
    x, kernel = normal(shape), normal((size, size, shape[-1], channels), seed=1)
    assert_close(products.convolve_to_few(x, products.taps(kernel), size), plain_conv2d(x, kernel, 1))


def test_less_precision_is_that_of_the_images_alone():
    x, kernel = normal((2, 6, 6, 8), dtype=jnp.bfloat16), normal((3, 3, 8, 3), 1, jnp.bfloat16)
    y = products.convolve_to_few(x, products.taps(kernel), 3)
    assert y.dtype == jnp.bfloat16
    exact = plain_conv2d(x.astype(jnp.float32), kernel.astype(jnp.float32), 1)
    # One rounding, of the result: half a unit in the last place of each entry.
    np.testing.assert_allclose(y.astype(jnp.float32), exact, rtol=2**-8, atol=1e-5)


def results(conv, shape, channels):
    """A convolution, and its gradients by image and kernel."""

    def all_three(x, kernel):
        y, pullback = jax.vjp(lambda x, kernel: conv(x, kernel), x, kernel)
        return y, *pullback(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    return all_three, (normal(shape), normal((3, 3, shape[-1], channels), seed=1))


# Forward, input gradient and kernel gradient are a convolution each, but where a product takes its place.
@pytest.mark.parametrize(
    ("shape", "channels", "convolutions"),
    [
        ((4, 2, 2, 16), 24, 1),  # Tiny: both ways.
        ((4, 6, 6, 3), 16, 2),  # The input gradient has few outputs.
        ((4, 6, 6, 16), 3, 2),  # The convolution has.
        ((4, 6, 6, 16), 16, 3),
        ((4, 2, 3, 16), 16, 3),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_conv2d_takes_them_where_they_are_faster(shape, channels, convolutions, known):
    def conv(x, kernel):
        return conv2d(x, kernel, 1, prepared(kernel) if known else None)

    function, arguments = results(conv, shape, channels)
    text = Program(function).lower(*arguments).compile().as_text()
    assert text.count(" convolution(") == convolutions
    expected, _ = results(lambda x, kernel: plain_conv2d(x, kernel, 1), shape, channels)
    for ours, theirs in zip(jax.jit(function)(*arguments), jax.jit(expected)(*arguments), strict=True):
        assert_close(ours, theirs)


def test_what_they_make_of_weights_is_made_outside_of_the_flow():
    """Of a network that ends at 2x2, with 24 channels: inside of the loop, products take it as it comes."""
    network = models.ResNet(16, (models.Stage(16, 1, 2), models.Stage(24, 1, 2)), 1.0)
    text = hlo.compiled_flow(network)
    made_by = re.findall(r"= f32\[96,96\]\S* ([\w-]+)\(", hlo.loop_body(text))
    assert made_by == ["get-tuple-element"] * 2
