"""The two conversions between stored and computed pixels. Work on numpy and jax arrays alike."""

from typing import TypeVar

import numpy as np
from jaxtyping import Array, Float, UInt8

ArrayT = TypeVar("ArrayT", np.ndarray, Array)


def to_float(x: ArrayT) -> ArrayT:
    """uint8 in 0..255 to float32 in [-1, 1]; floats are returned as they are."""
    return x.astype(np.float32) / 127.5 - 1 if x.dtype == np.uint8 else x


def to_uint8(x: Float[Array | np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Floats in [-1, 1] to the nearest of 0..255; values outside are clipped."""
    return np.clip(np.rint((np.asarray(x, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)
