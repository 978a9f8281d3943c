"""The convolution and its gradients against XLA's.

Covers: `conv`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from parity import assert_close
from random_arrays import normal

from fdrl_jax.models.conv import conv2d, plain_conv2d

pytestmark = pytest.mark.usefixtures("strict_promotion")


# Strides 2 and 3 do not divide some of these even and odd sizes, and leave rows beyond the last window.
@pytest.mark.parametrize("shape", [(8, 9), (7, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_conv_and_its_gradients_equal_xlas(size, stride, shape):
    x, kernel = normal((2, *shape, 3)), normal((size, size, 3, 4), seed=1)

    @jax.jit
    def both(x, kernel):
        results = []
        for conv in (conv2d, plain_conv2d):
            out, pullback = jax.vjp(lambda x, kernel, conv=conv: conv(x, kernel, stride), x, kernel)
            results.append((out, *pullback(jnp.sin(jnp.arange(out.size, dtype=jnp.float32)).reshape(out.shape))))
        return results

    for actual, expected in zip(*both(x, kernel), strict=True):
        assert_close(actual, expected)


def test_conv_is_a_cross_correlation_with_zero_padding():
    x, kernel = np.asarray(normal((1, 5, 6, 2))), np.asarray(normal((3, 3, 2, 4), seed=1))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((1, 3, 3, 4))
    for i in range(3):
        for j in range(3):
            window = padded[0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            expected[0, i, j] = np.einsum("hwc,hwco->o", window, kernel)
    assert_close(conv2d(jnp.asarray(x), jnp.asarray(kernel), 2), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_conv_has_second_order_gradients(stride):
    x, kernel = normal((1, 5, 5, 2)), normal((3, 3, 2, 3), seed=1)

    def penalty(conv):
        def squared_gradient(kernel, x):
            return (jax.grad(lambda x: jnp.sin(conv(x, kernel, stride)).sum())(x) ** 2).sum()

        return jax.jit(jax.grad(squared_gradient, argnums=(0, 1)))(kernel, x)

    for actual, expected in zip(penalty(conv2d), penalty(plain_conv2d), strict=True):
        assert_close(actual, expected)


def test_conv_inside_a_compiled_scan():
    x, kernel = normal((2, 6, 6, 2)), normal((3, 3, 2, 4), seed=1)

    def final(conv):
        gradient = jax.grad(lambda x: jnp.sin(conv(x, kernel, 2)).sum())
        return jax.jit(lambda x: lax.scan(lambda x, _: (x - 0.1 * gradient(x), None), x, None, 3)[0])(x)

    assert_close(final(conv2d), final(plain_conv2d))
