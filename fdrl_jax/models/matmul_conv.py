"""Convolutions as one matrix product each, for CPUs, where XLA's are slow: tiny images, and few output channels.

- **Tiny images** are those whose every entry reaches every other through the kernel: 2x2 and 1x1 for a 3x3 kernel. The
  convolution is a matrix, `whole`, from all entries of an image to all entries of the result. XLA swaps image and
  kernel where the kernel is larger, and has no fast kernel for the result: 64 channels, batch 64, take 0.94 ms there
  and 0.09 here.
- **Few outputs**: the input gradient of a network's first layer has as many channels as an image. All entries of the
  kernel are applied to each pixel by a matrix, `taps`, and the results are shifted and added. 64 to 3 channels at
  128x128, batch 4, take 2.1 ms instead of 7.1; 32 to 1 at 8x8, batch 64, 0.13 instead of 0.58.

Both have stride 1 and k // 2 zeros on every side, as `conv.plain_conv2d` (2 cores, jax 0.10.2;
`python -m benchmarks.speed.convolutions`).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Images = Float[Array, "batch h w c_in"]
Features = Float[Array, "batch h w c_out"]
Kernel = Float[Array, "k k c_in c_out"]

# The number of output channels up to which `convolve_to_few` is used. Measured for 64 channels at 32x32, batch 8, with
# 4 outputs: 0.35 ms instead of 0.93; with 8: 0.74 and 1.37; with 16: 1.15 and 1.44; with 32: 2.3 and 2.1.
_FEW_OUTPUTS = 8


def tiny_sides(kernel_size: int) -> range:
    """Return the sides of square images that are tiny for a kernel [k, k, ...] of odd k."""
    return range(1, kernel_size // 2 + 2)


def is_tiny(image_shape: tuple[int, ...], kernel_shape: tuple[int, ...]) -> bool:
    """Return whether images [batch, h, w, c_in] are square and tiny for a kernel [k, k, c_in, c_out]."""
    return image_shape[1] == image_shape[2] and image_shape[1] in tiny_sides(kernel_shape[0])


def has_few_outputs(kernel_shape: tuple[int, ...]) -> bool:
    """Return whether a kernel [k, k, c_in, c_out] has few enough output channels for `convolve_to_few`."""
    return kernel_shape[3] <= _FEW_OUTPUTS


def whole(kernel: Kernel, side: int) -> Float[Array, "inputs outputs"]:
    """Return the convolution of tiny images of `side` as a matrix [side * side * c_in, side * side * c_out]."""
    # Index of the kernel's entry, along one axis, between each input (first axis) and each output (second).
    entry = np.arange(side)[:, None] - np.arange(side) + len(kernel) // 2
    pairs = kernel[entry[:, None, :, None], entry[None, :, None, :]]  # [h, w, h, w, c_in, c_out]
    return jnp.moveaxis(pairs, 4, 2).reshape(side**2 * kernel.shape[2], side**2 * kernel.shape[3])


def convolve_tiny(x: Images, matrix: Float[Array, "inputs outputs"]) -> Features:
    """Convolve tiny images, where `matrix` is `whole` of the kernel."""
    return (x.reshape(len(x), -1) @ matrix).reshape(*x.shape[:3], -1)


def taps(kernel: Kernel) -> Float[Array, "c_in taps"]:
    """Return the kernel as a matrix [c_in, k * k * c_out]."""
    return jnp.moveaxis(kernel, 2, 0).reshape(kernel.shape[2], -1)


def convolve_to_few(x: Images, matrix: Float[Array, "c_in taps"], size: int) -> Features:
    """Convolve to few output channels.

    Args:
      x: images [batch, h, w, c_in]; the result has their dtype, and sums are in float32 at least.
      matrix: `taps` of the kernel.
      size: side k of the kernel.
    """
    batch, h, w, channels = x.shape
    y = jnp.dot(
        x.reshape(-1, channels), matrix, preferred_element_type=x.dtype if x.dtype.itemsize >= 4 else jnp.float32
    ).reshape(batch, h, w, size, size, -1)
    zeros = (size // 2, size // 2)
    y = jnp.pad(y, ((0, 0), zeros, zeros, (0, 0), (0, 0), (0, 0)))
    shifted = [y[:, i : i + h, j : j + w, i, j] for i in range(size) for j in range(size)]
    return sum(shifted[1:], shifted[0]).astype(x.dtype)
