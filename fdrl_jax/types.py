"""Shapes, dtypes and function types that the whole package shares, and its errors.

Symbols follow arXiv 2303.03714: p is the data, q' the prior, q~ the law of the flowed samples,
r(x) = q~(x) / p(x). A network's output `o` is r or log r (its *parameterisation*).
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

from jaxtyping import Array, Float, Key, PyTree

Parameterisation: TypeAlias = Literal["ratio", "log_ratio"]

# A batch of points or images. `*event` is [D] or, for images, [H, W, C] with pixels in [-1, 1].
Particles: TypeAlias = Float[Array, "batch *event"]

# What a ratio function returns for a batch: r or log r, one number an example.
Output: TypeAlias = Float[Array, " batch"]

# Typed PRNG keys, one a sample, so that a sample does not depend on the batch it is drawn in.
Keys: TypeAlias = Key[Array, " batch"]

RatioFn: TypeAlias = Callable[[Particles], Output]

# f' as a function of a network's output; elementwise.
OutputFn: TypeAlias = Callable[[Float[Array, "..."]], Float[Array, "..."]]

Params: TypeAlias = PyTree[Float[Array, "..."]]


class InputError(ValueError):
    """Something the user gave cannot be used. The message is one line: what, where, what to do.

    `main.py` prints it without a traceback and exits with code 2; in Python it is a ValueError.
    """


class DivergedError(RuntimeError):
    """Numbers of training went bad. The message is one line: what, the step, and the last good checkpoint.

    `main.py` prints it without a traceback and exits with code 1.
    """

    def __init__(self, message: str, step: int | None = None):
        """`step`: the one that was bad, where it is known."""
        super().__init__(message)
        self.step = step


class StoppedError(BaseException):
    """Training was asked to stop, and did. The message is one line: after which step, and that it is saved.

    No `Exception`, like KeyboardInterrupt: a signal may raise it anywhere, also where code expects errors of its own.
    """

    def __init__(self, message: str, signal: int):
        """`signal`: the number of the signal that asked for it."""
        super().__init__(message)
        self.signal = signal
