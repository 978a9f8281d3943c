"""Bilinear resizing exactly as TensorFlow 1 and PyTorch do it, for the two Inception networks.

`jax.image.resize` cannot replace them: by default it antialiases when it shrinks, and without antialiasing it has
half-pixel centres, which TensorFlow 1 has not.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def tensorflow1(x: Float[Array, "n h w c"], height: int, width: int) -> Float[Array, "n height width c"]:
    """Resize like TensorFlow 1's `resize_bilinear`, which the standard FID uses.

    A target pixel reads the source position target * in / out: no half-pixel offset, no antialias.

    Call this function outside of a compiled function: a compiler may round a product and the sum after it once instead
    of twice, and then the result no longer equals TensorFlow's to the last bit.

    Args:
      x: float32, of any range.
      height, width: size of the result.
    """
    return _resize_rows(_resize_columns(x, width), height)


def _resize_columns(x: Float[Array, "n h w c"], width: int) -> Float[Array, "n h width c"]:
    size = x.shape[2]
    position = np.arange(width, dtype=np.float32) * np.float32(size / width)
    low = position.astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    weight = jnp.asarray(position - low.astype(np.float32))[:, None]
    left = x[:, :, low]
    return left + (x[:, :, high] - left) * weight


def _resize_rows(x: Float[Array, "n h w c"], height: int) -> Float[Array, "n height w c"]:
    return _resize_columns(x.swapaxes(1, 2), height).swapaxes(1, 2)


def half_pixel(x: Float[Array, "n h w c"], height: int, width: int) -> Float[Array, "n height width c"]:
    """Resize like `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`: no antialias.

    Args:
      x: float32, of any range.
      height, width: size of the result.
    """
    rows, columns = _half_pixel_matrix(x.shape[1], height), _half_pixel_matrix(x.shape[2], width)
    return jnp.einsum("ih,nhwc,jw->nijc", rows, x, columns, precision="highest")


def _half_pixel_matrix(size: int, out: int) -> Float[np.ndarray, "out size"]:
    """Return the weights of the `size` source pixels in each of the `out` target pixels."""
    half = np.float32(0.5)  # PyTorch computes positions in float32.
    position = np.maximum((np.arange(out, dtype=np.float32) + half) * np.float32(size / out) - half, 0)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    matrix = np.zeros((out, size), np.float32)
    matrix[np.arange(out), low] += 1 - (position - low)
    matrix[np.arange(out), high] += position - low
    return matrix
