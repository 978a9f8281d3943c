"""Examples in blocks, so that a memory-mapped set larger than memory can be fitted in passes over it."""

import math
import mmap
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32
from tqdm.auto import tqdm

from fdrl_jax.pixels import to_float
from fdrl_jax.types import InputError

# Values in a block, 256 MiB of float32: large enough that a pass is bound by the products, not by adding them up.
_BLOCK_VALUES = 2**26


@runtime_checkable
class Examples(Protocol):
    """What can be fitted: anything of shape [n, *event] whose slices are arrays, of uint8 pixels or of floats."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, index: slice, /) -> Any: ...


def size(data: Examples) -> int:
    """Values in one example.

    Raises:
      InputError: there are no examples, or they have no values.
    """
    if not math.prod(data.shape):
        raise cannot_fit(data)
    return math.prod(data.shape[1:])


def cannot_fit(data: Examples) -> InputError:
    return InputError(f"the Gaussian prior cannot be fitted: data of shape {data.shape} is empty or not finite")


def subsample_mean(data: Examples, count: int = 256) -> Float[np.ndarray, " d"]:
    """Mean of at most `count` evenly spaced examples, float64: near enough to centre with before the mean is known.

    Raises:
      InputError: values that are not finite.
    """
    return _rows(data, slice(None, None, -(-data.shape[0] // count))).mean(axis=0, dtype=np.float64)


def blocks(
    data: Examples, shift: Float[np.ndarray, " d"], label: str, progress: bool, rows: int | None = None
) -> Iterator[Float32[np.ndarray, "rows d"]]:
    """`data - shift`, flattened, in float32 blocks of consecutive examples. A block is overwritten by the next.

    Args:
      data: uint8 becomes [-1, 1].
      shift: subtracted in the precision of the data's float form.
      label, progress: of the progress bar.
      rows: examples in a block, by default 256 MiB of float32 and at most 4096.

    Raises:
      InputError: values that are not finite.
    """
    n, d = data.shape[0], len(shift)
    rows = min(n, rows or max(1, min(4096, _BLOCK_VALUES // d)))
    buffer = np.empty((rows, d), np.float32)
    chunk = max(1, _BLOCK_VALUES // (16 * d))
    with tqdm(total=n, desc=label, unit="example", disable=not progress, dynamic_ncols=True) as bar:
        for start in range(0, n, rows):
            block = buffer[: min(rows, n - start)]
            # Converted a few examples at a time: the conversion makes copies, of 16 MiB each here.
            for first in range(0, len(block), chunk):
                into = block[first : first + chunk]
                x = _rows(data, slice(start + first, start + first + len(into)))
                np.subtract(x, shift.astype(x.dtype), out=into, casting="same_kind")
            _release(data)
            yield block
            bar.update(len(block))


def _rows(data: Examples, which: slice) -> Float[np.ndarray, "m d"]:
    x = to_float(np.asarray(data[which]))
    if not np.isfinite(x).all():
        raise cannot_fit(data)
    return x.reshape(len(x), -1)


def _release(data: Examples) -> None:
    """Let go of the pages of a read-only memory map, which would otherwise count as resident memory until the end."""
    if isinstance(data, np.memmap) and data.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        data._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
