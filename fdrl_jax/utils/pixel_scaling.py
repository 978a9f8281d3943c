"""Conversion of pixels between uint8 in 0..255 (stored) and float32 in [-1, 1] (computed), of numpy and jax arrays."""

from typing import TypeVar

import numpy as np
from jaxtyping import Array, Float, UInt8

ArrayT = TypeVar("ArrayT", np.ndarray, Array)


def to_float(x: ArrayT) -> ArrayT:
    """Convert uint8 in 0..255 to float32 in [-1, 1]. Arrays of floats are returned unchanged."""
    return x.astype(np.float32) / 127.5 - 1 if x.dtype == np.uint8 else x


def to_uint8(x: Float[Array | np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Convert floats in [-1, 1] to uint8, rounding to the nearest of 0..255. Values outside the range are clipped."""
    return np.clip(np.rint((np.asarray(x, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)
