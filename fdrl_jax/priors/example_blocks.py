"""Blocks of consecutive examples, so that a prior can be fitted in passes over a data set larger than memory."""

import math
import mmap
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32
from tqdm.auto import tqdm

from fdrl_jax.types import InputError

# Values in a block, 256 MiB of float32: large enough that the time of a pass is that of the matrix products, not of
# adding them up.
_BLOCK_VALUES = 2**26


@runtime_checkable
class Examples(Protocol):
    """The interface of data that a prior can be fitted to.

    It has a shape [n, *event], and its slices are arrays of uint8 pixels or of floats.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, index: slice, /) -> Any: ...


class Units(NamedTuple):
    """The map from stored values to fitted values: stored * `scale` + `offset`.

    uint8 becomes [-1, 1], as in `pixel_scaling.to_float`; floats are unchanged.
    """

    scale: float
    offset: float


def size(data: Examples) -> int:
    """The number of values in one example.

    Raises:
      InputError: there are no examples, or they have no values.
    """
    if not math.prod(data.shape):
        raise _cannot_fit(data)
    return math.prod(data.shape[1:])


def units(data: Examples) -> Units:
    return Units(1 / 127.5, -1.0) if np.asarray(data[:1]).dtype == np.uint8 else Units(1.0, 0.0)


def near_mean(data: Examples, count: int = 256) -> Float32[np.ndarray, " d"]:
    """Return the mean of at most `count` evenly spaced examples, as stored: accurate enough to centre the first pass.

    For uint8 it is rounded. The centred values are then integers, whose products float32 sums without any error up to
    2^24: 1024 examples reach that only if their squares average 128^2, as in images of only black and white.

    Raises:
      InputError: there are values that are not finite.
    """
    subset = _rows(data, slice(None, None, -(-data.shape[0] // count)))
    mean = subset.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.rint(mean) if subset.dtype == np.uint8 else mean


def blocks(
    data: Examples, shift: Float32[np.ndarray, " d"], label: str, progress: bool, rows: int | None = None
) -> Iterator[Float32[np.ndarray, "rows d"]]:
    """Yield the stored values minus `shift`, flattened, in float32 blocks of consecutive examples.

    All blocks share one buffer: each overwrites the one before.

    Args:
      data: the examples; float64 is shifted before it is rounded to float32.
      shift: values [d] subtracted from every example.
      label: text of the progress bar.
      progress: show a progress bar.
      rows: number of examples in a block; by default 256 MiB of float32, and at most 1024.

    Raises:
      InputError: there are values that are not finite.
    """
    n, d = data.shape[0], len(shift)
    rows = min(n, rows or max(1, min(1024, _BLOCK_VALUES // d)))
    buffer = np.empty((rows, d), np.float32)
    with tqdm(total=n, desc=label, unit="example", disable=not progress, dynamic_ncols=True) as bar:
        for start in range(0, n, rows):
            raw = _rows(data, slice(start, min(start + rows, n)))
            block = buffer[: len(raw)]
            np.subtract(raw, shift, out=block, casting="same_kind")
            _release(data)
            yield block
            bar.update(len(block))


def _rows(data: Examples, which: slice) -> Any:
    raw = np.asarray(data[which])
    if raw.dtype != np.uint8 and not np.isfinite(raw).all():
        raise _cannot_fit(data)
    return raw.reshape(len(raw), -1)


def _cannot_fit(data: Examples) -> InputError:
    return InputError(f"the Gaussian prior cannot be fitted: data of shape {data.shape} is empty or not finite")


def _release(data: Examples) -> None:
    """Release the pages of a read-only memory map, which would otherwise count as resident memory until the end."""
    if isinstance(data, np.memmap) and data.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        data._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
