"""Array types, function types and errors that the whole package shares.

Symbols follow arXiv 2303.03714: p is the distribution of the data, q' that of the prior, q~ that of the flowed samples,
and r(x) = q~(x) / p(x). The output o of a network is r or log r; which of the two is its parameterisation.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Array, Float, Key, PyTree, UInt8

Parameterisation: TypeAlias = Literal["ratio", "log_ratio"]

# A batch of points or images. `*event` is [D] for points, and [H, W, C] with pixels in [-1, 1] for images.
Particles: TypeAlias = Float[Array, "batch *event"]

# The output of a ratio function for a batch: r or log r, one number per example.
Output: TypeAlias = Float[Array, " batch"]

# Typed PRNG keys, one per sample, so that a sample does not depend on the batch in which it is drawn.
Keys: TypeAlias = Key[Array, " batch"]

RatioFn: TypeAlias = Callable[[Particles], Output]

# The derivative f' as a function of a network's output, elementwise.
OutputFn: TypeAlias = Callable[[Float[Array, "..."]], Float[Array, "..."]]

Params: TypeAlias = PyTree[Float[Array, "..."]]

# Images in the host's memory, [n, height, width, channels]: uint8 in 0..255, or floats.
Images: TypeAlias = UInt8[np.ndarray, "_n _h _w _c"] | Float[np.ndarray, "_n _h _w _c"]

# The largest seed: jax.random.key reduces seeds modulo 2**32, so a larger one would give the samples of a smaller one.
MAX_SEED = 2**32 - 1

# The largest count: larger ones overflow int32.
MAX_INT = 2**31 - 1


class InputError(ValueError):
    """An input of the user that cannot be used. The message is one line: what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2; in Python it is a ValueError.
    """


class DivergedError(RuntimeError):
    """A training that diverged. The message is one line: the bad number, the step, and the last good checkpoint.

    The command line prints it without a traceback and exits with code 1.

    Attributes:
      step: the step that diverged, or None if it is not known.
    """

    def __init__(self, message: str, step: int | None = None):
        super().__init__(message)
        self.step = step


class StoppedError(BaseException):
    """A training that stopped on request. The message is one line: the last step, and that it is saved.

    The class derives from BaseException, as KeyboardInterrupt does, because a signal may raise it anywhere, and code
    that catches its own errors with `except Exception` must not catch it.

    Attributes:
      signal: number of the signal that requested the stop.
    """

    def __init__(self, message: str, signal: int):
        super().__init__(message)
        self.signal = signal
