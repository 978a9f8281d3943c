"""A convolution that is fast on a CPU, in an input gradient inside `lax.scan` too.

XLA's CPU backend rewrites convolutions to its fast kernels by their dimension numbers, and inside a loop the one that
JAX emits for an input gradient (kernel transposed by dimension numbers alone) is missed (jax-ml/jax#12868). A flow step
of the 32 px network, batch 4, took 588 ms inside the scan against 159 ms by itself; written as the forward convolution
that it is (the cotangent dilated by the stride, the kernel flipped and transposed in memory), it takes 136 ms inside.
For the 8 px digits network, batch 64: 11.6, 7.0 and 6.3 ms. `python -m benchmarks.flow --network=all` measures them
(2 cores, jax 0.10.2). Where there are enough channels, `models.winograd` then takes half the time; for tiny images and
few output channels there is `models.products`.

On GPU and TPU all is left to XLA, which lays out convolutions there as it likes.
"""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from fdrl_jax.models import products, winograd

Images = Float[Array, "batch h w c_in"]
Kernel = Float[Array, "k k c_in c_out"]
Flipped = Float[Array, "k k c_out c_in"]
Features = Float[Array, "batch h_out w_out c_out"]

# What `prepared` makes of a kernel; its name beside the kernel, among parameters.
Prepared: TypeAlias = dict[str, Array]
PREPARED = "prepared_kernel"

_LAYOUT = ("NHWC", "HWIO", "NHWC")

# JAX remembers a traced program by it, among others.
_by_products = jax.make_user_context(default_value=True)


def direct() -> contextlib.AbstractContextManager[None]:
    """Programs that are traced inside have direct convolutions: to count what those cost, or to compare."""
    return _by_products(False)


def plain_conv2d(x: Images, kernel: Kernel, stride: int) -> Features:
    """Cross-correlation with k // 2 zeros on every side (k odd), as PyTorch's padding=k // 2."""
    padding = [(size // 2, size // 2) for size in kernel.shape[:2]]
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT)


def prepared(kernel: Kernel) -> Prepared:
    """What `conv2d` computes of a kernel alone.

    "flipped", the kernel of the input gradient [k, k, c_out, c_in], in memory; "00", "01", "10" and "11", the parts of
    that for even and odd rows and columns, where the stride is 2 (see `_of_stride_2`). Of the kernel and, with the
    prefix "flipped_", of that: "winograd", "taps" and "whole1", "whole2", ... of those modules' functions, where they
    apply.
    """
    flipped = jnp.swapaxes(kernel[::-1, ::-1], 2, 3)
    found = {"flipped": flipped}
    for prefix, of in (("", kernel), ("flipped_", flipped)):
        found |= {f"{prefix}whole{side}": products.whole(of, side) for side in products.tiny_sides(len(of))}
        if products.has_few_outputs(of.shape):
            found[f"{prefix}taps"] = products.taps(of)
        if winograd.applies(of.shape):
            found[f"{prefix}winograd"] = winograd.prepare(of)
    taps = [_taps(len(kernel), odd) for odd in (0, 1)]
    found |= {f"{i}{j}": flipped[rows, columns] for i, rows in enumerate(taps) for j, columns in enumerate(taps)}
    return found


def with_prepared(params: Any) -> Any:
    """A tree of parameters with what is `prepared` of each kernel of a convolution beside it, for `conv2d`.

    XLA leaves what is computed of the weights alone inside the loop: here it is outside. What a backend or a layer has
    no use for, XLA leaves out.
    """
    if not isinstance(params, Mapping):
        return params
    found = {name: with_prepared(sub) for name, sub in params.items()}
    if getattr(params.get("kernel"), "ndim", 0) == 4:
        found[PREPARED] = prepared(params["kernel"])
    return found


def conv2d(x: Images, kernel: Kernel, stride: int, known: Prepared | None = None) -> Features:
    """`plain_conv2d`, fast on a CPU, as is its input gradient in a loop. Reverse mode only (no jvp).

    Args:
      x, kernel, stride: see `plain_conv2d`.
      known: `prepared(kernel)`, where that is at hand; it changes nothing but the cost, and has no gradient.
    """
    return _conv2d(x, kernel, known, stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _conv2d(x: Images, kernel: Kernel, known: Prepared | None, stride: int) -> Features:
    own = _own(x.shape, kernel.shape, stride)
    if own is None:
        return plain_conv2d(x, kernel, stride)
    return lax.platform_dependent(
        x,
        kernel,
        known,
        cpu=lambda x, kernel, known: own(x, known or prepared(kernel), ""),
        default=lambda x, kernel, _: plain_conv2d(x, kernel, stride),
    )


def _own(
    shape: tuple[int, ...], kernel_shape: tuple[int, ...], stride: int
) -> Callable[[Images, Prepared, str], Features] | None:
    """How a CPU convolves images of `shape`, by what is `prepared` under a prefix; None where XLA's way is fast."""
    if stride != 1 or not _by_products.value:
        return None
    if products.is_tiny(shape, kernel_shape):
        return lambda x, known, prefix: products.convolve_tiny(x, known[f"{prefix}whole{shape[1]}"])
    if products.has_few_outputs(kernel_shape):
        return lambda x, known, prefix: products.convolve_to_few(x, known[f"{prefix}taps"], kernel_shape[0])
    if winograd.pays(shape, kernel_shape, stride):
        return lambda x, known, prefix: winograd.convolve(x, known[f"{prefix}winograd"])
    return None


def _forward(
    x: Images, kernel: Kernel, known: Prepared | None, stride: int
) -> tuple[Features, tuple[Images, Kernel, Prepared | None]]:
    return _conv2d(x, kernel, known, stride), (x, kernel, known)


def _backward(
    stride: int, residuals: tuple[Images, Kernel, Prepared | None], cotangent: Features
) -> tuple[Images, Kernel, Prepared | None]:
    x, kernel, known = residuals

    def plain(x: Images, kernel: Kernel) -> Callable[[Features], tuple[Images, Kernel]]:
        return jax.vjp(lambda x, kernel: plain_conv2d(x, kernel, stride), x, kernel)[1]

    def input_gradient(x: Images, kernel: Kernel, known: Prepared | None, cotangent: Features) -> Images:
        known = known or prepared(kernel)
        own = _own(cotangent.shape, (*kernel.shape[:2], *kernel.shape[:1:-1]), stride)
        if own is not None:
            return own(cotangent, known, "flipped_")
        if stride == 2:
            return _of_stride_2(x, len(kernel), known, cotangent)
        return _input_gradient(stride, cotangent, x, kernel, known["flipped"])

    d_x = lax.platform_dependent(
        x, kernel, known, cotangent, cpu=input_gradient, default=lambda x, kernel, _, g: plain(x, kernel)(g)[0]
    )
    if _by_products.value and winograd.pays(x.shape, kernel.shape, stride):
        d_kernel = lax.platform_dependent(
            x,
            kernel,
            cotangent,
            cpu=lambda x, _, g: winograd.kernel_gradient(x, g),
            default=lambda x, kernel, g: plain(x, kernel)(g)[1],
        )
    else:
        d_kernel = plain(x, kernel)(cotangent)[1]
    return d_x, d_kernel, jax.tree.map(jnp.zeros_like, known)


def _input_gradient(stride: int, cotangent: Features, x: Images, kernel: Kernel, flipped: Flipped) -> Images:
    """The gradient with respect to x as a forward convolution of the cotangent, in canonical layout."""
    padding = []
    for axis in (0, 1):
        size, k, out = x.shape[1 + axis], kernel.shape[axis], cotangent.shape[1 + axis]
        low = k - 1 - k // 2
        # Rows of x beyond the last window of a strided convolution get gradient zero: pad up to them.
        padding.append((low, size + k - 1 - low - ((out - 1) * stride + 1)))
    return lax.conv_general_dilated(
        cotangent, flipped, (1, 1), padding, lhs_dilation=(stride, stride), dimension_numbers=_LAYOUT
    )


def _taps(size: int, odd: int) -> slice:
    """Which entries of a flipped kernel, in one dimension, reach the even or odd inputs of a stride of 2."""
    return slice((size // 2 + odd) % 2, None, 2)


def _of_stride_2(x: Images, size: int, known: Prepared, cotangent: Features) -> Images:
    """`_input_gradient` for stride 2, of kernels of odd `size`, without its products with zeros.

    Even rows of x meet other rows of the kernel than odd ones, and so do columns: four convolutions of the cotangent,
    whose results alternate. 64 channels at 64x64, batch 8, took 2.1 ms instead of 10 by a dilated convolution; 128 to
    256 at 32x32 3.9 instead of 6.2 (2 cores, jax 0.10.2).
    """
    h, w = (-(-side // 2) for side in x.shape[1:3])

    def padding(odd: int, out: int, count: int) -> tuple[int, int]:
        # Input 2 i + odd meets outputs from i + first on.
        first, entries = -((size // 2 - odd) // 2), len(range(size)[_taps(size, odd)])
        return -first, count + first + entries - 1 - out

    def part(i: int, j: int) -> Images:
        kernel = known[f"{i}{j}"]
        if not kernel.size:
            return jnp.zeros((len(x), h, w, x.shape[3]), x.dtype)
        pads = [padding(i, cotangent.shape[1], h), padding(j, cotangent.shape[2], w)]
        return lax.conv_general_dilated(cotangent, kernel, (1, 1), pads, dimension_numbers=_LAYOUT)

    rows = [jnp.stack([part(i, 0), part(i, 1)], axis=3) for i in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(len(x), 2 * h, 2 * w, -1)[:, : x.shape[1], : x.shape[2]]


_conv2d.defvjp(_forward, _backward)
