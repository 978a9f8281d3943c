"""Mean and covariance of a data set, computed in one pass over it, in float32 and in place."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from fdrl_jax.priors import example_blocks
from fdrl_jax.priors.example_blocks import Examples

# Rows of the covariance that are converted to their final values at a time, in float64.
_STRIPE = 64


class Moments(NamedTuple):
    """The mean [d] in float64, and the lower triangle [d, d] of the covariance in float32, zero above the diagonal."""

    mean: Float64[np.ndarray, " d"]
    covariance: Float32[np.ndarray, "d d"]


def moments(data: Examples, block: int = 1024, rows: int | None = None, progress: bool = False) -> Moments:
    """Compute the mean and biased covariance (divided by n) of the flattened examples.

    The examples are first centred by an approximate mean (`example_blocks.near_mean`), so that no large numbers cancel,
    and the rest of the mean is subtracted at the end. Memory in addition to the covariance: `block` of its rows and a
    block of examples, 400 MiB at d = 49152.

    Args:
      data: examples [n, *event], uint8 pixels, which are scaled to [-1, 1], or floats.
      block: number of rows of the covariance computed at a time.
      rows: number of examples multiplied at a time; for the default see `example_blocks.blocks`.
      progress: show a progress bar.

    Raises:
      InputError: there are no examples, or values that are not finite.
    """
    d, n = example_blocks.size(data), data.shape[0]
    shift = example_blocks.near_mean(data)
    total = np.zeros(d)
    covariance = aligned_zeros(d)
    scratch = np.empty(min(block, d) * d, np.float32)
    for x in example_blocks.blocks(data, shift, "covariance", progress, rows):
        total += x.sum(axis=0, dtype=np.float64)
        for start in range(0, d, block):
            stop = min(start + block, d)
            product = scratch[: (stop - start) * stop].reshape(stop - start, stop)
            np.matmul(x[:, start:stop].T, x[:, :stop], out=product)
            covariance[start:stop, :stop] += product
    scale, offset = example_blocks.units(data)
    delta = total / n
    for start in range(0, d, _STRIPE):
        stop = min(start + _STRIPE, d)
        stripe = covariance[start:stop, :stop].astype(np.float64) / n
        stripe -= np.multiply.outer(delta[start:stop], delta[:stop])
        covariance[start:stop, :stop] = np.tril(stripe * scale**2, start)
        covariance[start:stop, stop : stop + block] = 0
    return Moments((shift + delta) * scale + offset, covariance)


def aligned_zeros(d: int) -> Float32[np.ndarray, "d d"]:
    """Return zeros whose memory starts at a multiple of 64 bytes.

    `jax.device_put` to a CPU device shares the memory of such an array; it copies any other.
    """
    raw = np.zeros(d * d + 16, np.float32)
    first = -raw.ctypes.data % 64 // 4
    return raw[first : first + d * d].reshape(d, d)
