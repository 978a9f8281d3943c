"""The convolution `conv2d`, fast on a CPU, and so is its input gradient inside `lax.scan`.

XLA's CPU backend replaces convolutions by its fast kernels according to their dimension numbers. Inside a loop it
misses the one that JAX emits for an input gradient, whose kernel is transposed by dimension numbers alone
(jax-ml/jax#12868). A flow step of the 32 px network, batch 4, took 588 ms inside the scan against 159 ms by itself;
written as the forward convolution that it is (the cotangent dilated by the stride, the kernel flipped and transposed in
memory), it takes 136 ms inside. For the 8 px digits network, batch 64: 11.6, 7.0 and 6.3 ms.
`python -m benchmarks.speed.flow --network=all` measures them (2 cores, jax 0.10.2).

Two other modules compute some convolutions faster still: `models.winograd` takes half the time where there are enough
channels, and `models.matmul_conv` covers tiny images and few output channels.

On GPU and TPU every convolution is left to XLA, which chooses its own layouts there.
"""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fdrl_jax.models import matmul_conv, winograd

Images = Float[Array, "batch h w c_in"]
Kernel = Float[Array, "k k c_in c_out"]
Flipped = Float[Array, "k k c_out c_in"]
Features = Float[Array, "batch h_out w_out c_out"]

# The arrays that `prepared` computes from a kernel, and the name they have next to that kernel in a parameter tree.
Prepared: TypeAlias = dict[str, Array]
PREPARED = "prepared_kernel"

_LAYOUT = ("NHWC", "HWIO", "NHWC")

# Whether `winograd` and `matmul_conv` may be used. A user context of JAX is a part of the key under which traced
# programs are cached, so programs traced with and without it are kept apart.
_allow_faster = jax.make_user_context(default_value=True)


def direct() -> contextlib.AbstractContextManager[None]:
    """Trace programs with direct convolutions inside this context, to count their cost or to compare with them."""
    return _allow_faster(False)


def plain_conv2d(x: Images, kernel: Kernel, stride: int) -> Features:
    """Compute the cross-correlation with k // 2 zeros on every side (k odd), as PyTorch's padding=k // 2."""
    padding = [(size // 2, size // 2) for size in kernel.shape[:2]]
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT)


def prepared(kernel: Kernel) -> Prepared:
    """Compute all that `conv2d` and its gradient need from the kernel alone.

    Returns:
      A dict with these arrays:
      - "flipped": the kernel of the input gradient [k, k, c_out, c_in], in memory.
      - "00", "01", "10", "11": the parts of "flipped" for even (0) and odd (1) rows and columns of the images, for
        stride 2; see `_input_gradient_stride_2`.
      - "winograd", "taps", "whole1", "whole2", ...: results of `winograd.prepare`, `matmul_conv.taps` and
        `matmul_conv.whole` (for sides 1, 2, ...) for the kernel, where these forms apply to it.
      - "flipped_winograd", "flipped_taps", "flipped_whole1", ...: the same for "flipped".
    """
    flipped = jnp.swapaxes(kernel[::-1, ::-1], 2, 3)
    arrays = {"flipped": flipped}
    for prefix, weights in (("", kernel), ("flipped_", flipped)):
        for side in matmul_conv.tiny_sides(len(weights)):
            arrays[f"{prefix}whole{side}"] = matmul_conv.whole(weights, side)
        if matmul_conv.has_few_outputs(weights.shape):
            arrays[f"{prefix}taps"] = matmul_conv.taps(weights)
        if winograd.applies(weights.shape):
            arrays[f"{prefix}winograd"] = winograd.prepare(weights)
    parts = [_entries_for_parity(len(kernel), odd) for odd in (0, 1)]
    for i, rows in enumerate(parts):
        for j, columns in enumerate(parts):
            arrays[f"{i}{j}"] = flipped[rows, columns]
    return arrays


def with_prepared(params: Any) -> Any:
    """Return the parameter tree with `prepared(kernel)` added next to every convolution kernel, for `conv2d`.

    XLA does not move the computation of these arrays out of a loop, so call this outside of the loop. Arrays that a
    backend or a layer does not use are removed by XLA.
    """
    if not isinstance(params, Mapping):
        return params
    tree = {name: with_prepared(sub) for name, sub in params.items()}
    if getattr(params.get("kernel"), "ndim", 0) == 4:
        tree[PREPARED] = prepared(params["kernel"])
    return tree


def conv2d(x: Images, kernel: Kernel, stride: int, precomputed: Prepared | None = None) -> Features:
    """Compute `plain_conv2d`, fast on a CPU, and with an input gradient that is fast inside a loop.

    Only reverse-mode differentiation is supported (no jvp).

    Args:
      x: images [batch, h, w, c_in].
      kernel: weights [k, k, c_in, c_out], k odd.
      stride: stride in rows and columns.
      precomputed: `prepared(kernel)`, where the caller has it. It saves its computation, changes no result, and has no
        gradient.
    """
    return _conv2d(x, kernel, precomputed, stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _conv2d(x: Images, kernel: Kernel, precomputed: Prepared | None, stride: int) -> Features:
    faster = _faster_on_cpu(x.shape, kernel.shape, stride)
    if faster is None:
        return plain_conv2d(x, kernel, stride)
    return lax.platform_dependent(
        x,
        kernel,
        precomputed,
        cpu=lambda x, kernel, precomputed: faster(x, precomputed or prepared(kernel), ""),
        default=lambda x, kernel, _: plain_conv2d(x, kernel, stride),
    )


def _faster_on_cpu(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], stride: int
) -> Callable[[Images, Prepared, str], Features] | None:
    """Return the form of the convolution that is faster on a CPU than XLA's, or None where there is none.

    Args:
      shape: shape of the images, [batch, h, w, c_in].
      kernel_shape: shape of the kernel, [k, k, c_in, c_out].
      stride: stride in rows and columns.

    Returns:
      A function of images, the arrays of `prepared`, and the prefix of the keys to take: "" or "flipped_".
    """
    if stride != 1 or not _allow_faster.value:
        return None
    if matmul_conv.is_tiny(shape, kernel_shape):
        return lambda x, arrays, prefix: matmul_conv.convolve_tiny(x, arrays[f"{prefix}whole{shape[1]}"])
    if matmul_conv.has_few_outputs(kernel_shape):
        return lambda x, arrays, prefix: matmul_conv.convolve_to_few(x, arrays[f"{prefix}taps"], kernel_shape[0])
    if winograd.is_faster(shape, kernel_shape, stride):
        return lambda x, arrays, prefix: winograd.convolve(x, arrays[f"{prefix}winograd"])
    return None


def _forward(
    x: Images, kernel: Kernel, precomputed: Prepared | None, stride: int
) -> tuple[Features, tuple[Images, Kernel, Prepared | None]]:
    return _conv2d(x, kernel, precomputed, stride), (x, kernel, precomputed)


def _backward(
    stride: int, residuals: tuple[Images, Kernel, Prepared | None], cotangent: Features
) -> tuple[Images, Kernel, Prepared | None]:
    x, kernel, precomputed = residuals

    def plain(x: Images, kernel: Kernel) -> Callable[[Features], tuple[Images, Kernel]]:
        return jax.vjp(lambda x, kernel: plain_conv2d(x, kernel, stride), x, kernel)[1]

    def input_gradient(x: Images, kernel: Kernel, precomputed: Prepared | None, cotangent: Features) -> Images:
        arrays = precomputed or prepared(kernel)
        faster = _faster_on_cpu(cotangent.shape, (*kernel.shape[:2], *kernel.shape[:1:-1]), stride)
        if faster is not None:
            return faster(cotangent, arrays, "flipped_")
        if stride == 2:
            return _input_gradient_stride_2(x, len(kernel), arrays, cotangent)
        return _input_gradient(stride, cotangent, x, kernel, arrays["flipped"])

    d_x = lax.platform_dependent(
        x, kernel, precomputed, cotangent, cpu=input_gradient, default=lambda x, kernel, _, g: plain(x, kernel)(g)[0]
    )
    if _allow_faster.value and winograd.is_faster(x.shape, kernel.shape, stride):
        d_kernel = lax.platform_dependent(
            x,
            kernel,
            cotangent,
            cpu=lambda x, _, g: winograd.kernel_gradient(x, g),
            default=lambda x, kernel, g: plain(x, kernel)(g)[1],
        )
    else:
        d_kernel = plain(x, kernel)(cotangent)[1]
    return d_x, d_kernel, jax.tree.map(jnp.zeros_like, precomputed)


def _input_gradient(stride: int, cotangent: Features, x: Images, kernel: Kernel, flipped: Flipped) -> Images:
    """The gradient with respect to x as a forward convolution of the cotangent, in the layout of XLA's fast kernels."""
    padding = []
    for axis in (0, 1):
        size, k, out = x.shape[1 + axis], kernel.shape[axis], cotangent.shape[1 + axis]
        low = k - 1 - k // 2
        # Rows of x beyond the last window of a strided convolution have gradient zero: the padding covers them too.
        padding.append((low, size + k - 1 - low - ((out - 1) * stride + 1)))
    return lax.conv_general_dilated(
        cotangent, flipped, (1, 1), padding, lhs_dilation=(stride, stride), dimension_numbers=_LAYOUT
    )


def _entries_for_parity(size: int, odd: int) -> slice:
    """The entries of a flipped kernel, along one axis, that act on even (odd = 0) or odd (1) inputs at stride 2."""
    return slice((size // 2 + odd) % 2, None, 2)


def _input_gradient_stride_2(x: Images, size: int, arrays: Prepared, cotangent: Features) -> Images:
    """Compute `_input_gradient` for stride 2 and kernels of odd `size` without its multiplications by zero.

    Even rows of x meet other rows of the kernel than odd rows do, and the same holds for columns. So four convolutions
    of the cotangent are computed, and their results interleaved. 64 channels at 64x64, batch 8, took 2.1 ms instead of
    10 by a dilated convolution; 128 to 256 at 32x32 3.9 instead of 6.2 (2 cores, jax 0.10.2).
    """
    h, w = (-(-side // 2) for side in x.shape[1:3])

    def padding(odd: int, out: int, count: int) -> tuple[int, int]:
        # Input row 2 i + odd is reached from output rows i + first, ..., i + first + entries - 1.
        first, entries = -((size // 2 - odd) // 2), len(range(size)[_entries_for_parity(size, odd)])
        return -first, count + first + entries - 1 - out

    def part(i: int, j: int) -> Images:
        kernel = arrays[f"{i}{j}"]
        if not kernel.size:
            return jnp.zeros((len(x), h, w, x.shape[3]), x.dtype)
        pads = [padding(i, cotangent.shape[1], h), padding(j, cotangent.shape[2], w)]
        return lax.conv_general_dilated(cotangent, kernel, (1, 1), pads, dimension_numbers=_LAYOUT)

    rows = [jnp.stack([part(i, 0), part(i, 1)], axis=3) for i in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(len(x), 2 * h, 2 * w, -1)[:, : x.shape[1], : x.shape[2]]


_conv2d.defvjp(_forward, _backward)
