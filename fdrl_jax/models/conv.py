"""A convolution that keeps its speed when its input gradient is taken inside `lax.scan` on a CPU.

XLA's CPU backend rewrites convolutions to its fast kernels by their dimension numbers, and inside a loop the one that
JAX emits for an input gradient (kernel transposed by dimension numbers alone) is missed (jax-ml/jax#12868). A flow step
of the 32 px network, batch 4, took 588 ms inside the scan against 159 ms by itself; written as the forward convolution
that it is (the cotangent dilated by the stride, the kernel flipped and transposed in memory), it takes 136 ms inside.
For the 8 px digits network, batch 64: 11.6, 7.0 and 6.3 ms. `python -m benchmarks.flow --network=all` measures them
(2 cores, jax 0.10.2). On GPU and TPU the plain gradient is left to XLA, which lays out convolutions there as it likes.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Images = Float[Array, "batch h w c_in"]
Kernel = Float[Array, "k k c_in c_out"]
Flipped = Float[Array, "k k c_out c_in"]
Features = Float[Array, "batch h_out w_out c_out"]

# Its name among parameters.
FLIPPED = "flipped_kernel"

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def plain_conv2d(x: Images, kernel: Kernel, stride: int) -> Features:
    """Cross-correlation with k // 2 zeros on every side (k odd), as PyTorch's padding=k // 2."""
    padding = [(size // 2, size // 2) for size in kernel.shape[:2]]
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT)


def flipped(kernel: Kernel) -> Flipped:
    """The kernel of the input gradient: flipped, and transposed in memory."""
    return jnp.swapaxes(kernel[::-1, ::-1], 2, 3)


def with_flipped(params: Any) -> Any:
    """A tree of parameters with, beside each kernel of a convolution, that of its input gradient, for `conv2d`.

    XLA leaves what is computed of the weights alone inside the loop: here it is outside.
    """
    if not isinstance(params, Mapping):
        return params
    found = {name: with_flipped(sub) for name, sub in params.items()}
    if getattr(params.get("kernel"), "ndim", 0) == 4:
        found[FLIPPED] = flipped(params["kernel"])
    return found


def conv2d(x: Images, kernel: Kernel, stride: int, flipped_kernel: Flipped | None = None) -> Features:
    """`plain_conv2d`, with an input gradient that is fast in a CPU loop. Reverse mode only (no jvp).

    Args:
      x, kernel, stride: see `plain_conv2d`.
      flipped_kernel: `flipped(kernel)`, where that is known; it changes nothing but the cost, and has no gradient.
    """
    return _conv2d(x, kernel, flipped_kernel, stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _conv2d(x: Images, kernel: Kernel, flipped_kernel: Flipped | None, stride: int) -> Features:
    return plain_conv2d(x, kernel, stride)


def _forward(
    x: Images, kernel: Kernel, flipped_kernel: Flipped | None, stride: int
) -> tuple[Features, tuple[Images, Kernel, Flipped | None]]:
    return plain_conv2d(x, kernel, stride), (x, kernel, flipped_kernel)


def _backward(
    stride: int, residuals: tuple[Images, Kernel, Flipped | None], cotangent: Features
) -> tuple[Images, Kernel, Flipped | None]:
    x, kernel, flipped_kernel = residuals
    d_x = lax.platform_dependent(
        cotangent,
        x,
        kernel,
        flipped(kernel) if flipped_kernel is None else flipped_kernel,
        cpu=functools.partial(_input_gradient, stride),
        default=lambda g, x, kernel, _: jax.vjp(lambda x: plain_conv2d(x, kernel, stride), x)[1](g)[0],
    )
    d_kernel = jax.vjp(lambda kernel: plain_conv2d(x, kernel, stride), kernel)[1](cotangent)[0]
    return d_x, d_kernel, None if flipped_kernel is None else 0 * flipped_kernel


def _input_gradient(stride: int, cotangent: Features, x: Images, kernel: Kernel, transposed: Flipped) -> Images:
    """The gradient with respect to x as a forward convolution of the cotangent, in canonical layout."""
    padding = []
    for axis in (0, 1):
        size, k, out = x.shape[1 + axis], kernel.shape[axis], cotangent.shape[1 + axis]
        low = k - 1 - k // 2
        # Rows of x beyond the last window of a strided convolution get gradient zero: pad up to them.
        padding.append((low, size + k - 1 - low - ((out - 1) * stride + 1)))
    return lax.conv_general_dilated(
        cotangent, transposed, (1, 1), padding, lhs_dilation=(stride, stride), dimension_numbers=_LAYOUT
    )


_conv2d.defvjp(_forward, _backward)
