"""Mean and covariance of a data set in one pass over it, in float32 and in place."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from fdrl_jax.priors import streaming
from fdrl_jax.priors.streaming import Examples

# Rows that are brought to their final form at a time, in float64.
_STRIPE = 64


class Moments(NamedTuple):
    """Mean [d] in float64, and the covariance's lower triangle [d, d] in float32, zero above the diagonal."""

    mean: Float64[np.ndarray, " d"]
    covariance: Float32[np.ndarray, "d d"]


def moments(data: Examples, block: int = 1024, rows: int | None = None, progress: bool = False) -> Moments:
    """Mean and biased covariance (divided by n) of the flattened examples.

    The examples are centred on about their mean (`streaming.near_mean`), so that nothing large cancels, and what is
    left of the mean is taken out at the end. Memory beside the covariance: `block` of its rows and a block of
    examples, 400 MiB at d = 49152.

    Args:
      data: [n, *event], uint8 pixels, which become [-1, 1], or floats.
      block: rows of the covariance computed at a time.
      rows: examples multiplied at a time; by default see `streaming.blocks`.
      progress: show a progress bar.

    Raises:
      InputError: no examples, or values that are not finite.
    """
    d, n = streaming.size(data), data.shape[0]
    shift = streaming.near_mean(data)
    total = np.zeros(d)
    covariance = aligned_zeros(d)
    scratch = np.empty(min(block, d) * d, np.float32)
    for x in streaming.blocks(data, shift, "covariance", progress, rows):
        total += x.sum(axis=0, dtype=np.float64)
        for start in range(0, d, block):
            stop = min(start + block, d)
            product = scratch[: (stop - start) * stop].reshape(stop - start, stop)
            np.matmul(x[:, start:stop].T, x[:, :stop], out=product)
            covariance[start:stop, :stop] += product
    scale, offset = streaming.units(data)
    delta = total / n
    for start in range(0, d, _STRIPE):
        stop = min(start + _STRIPE, d)
        stripe = covariance[start:stop, :stop].astype(np.float64) / n
        stripe -= np.multiply.outer(delta[start:stop], delta[:stop])
        covariance[start:stop, :stop] = np.tril(stripe * scale**2, start)
        covariance[start:stop, stop : stop + block] = 0
    return Moments((shift + delta) * scale + offset, covariance)


def aligned_zeros(d: int) -> Float32[np.ndarray, "d d"]:
    """Zeros that begin at a multiple of 64 bytes: `jax.device_put` on a CPU then shares the memory, else it copies."""
    raw = np.zeros(d * d + 16, np.float32)
    first = -raw.ctypes.data % 64 // 4
    return raw[first : first + d * d].reshape(d, d)
