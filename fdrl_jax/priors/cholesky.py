"""Cholesky factorisation of a matrix too large for LAPACK through scipy and for a second copy in memory."""

import numpy as np
from jaxtyping import Float32
from scipy.linalg import blas, lapack
from tqdm.auto import tqdm

# Terms that float32 adds up before float64 does: long enough to be fast.
_TERMS = 4096


def cholesky_in_place(a: Float32[np.ndarray, "d d"], block: int = 1024, progress: bool = False) -> None:
    """Overwrite `a` with its lower Cholesky factor, zero above the diagonal.

    Left-looking: a block of columns is brought up to date with all the columns before it, then factored. So an entry
    is read once and written once, and is rounded to float32 once. Memory beside `a`: a few squares of `block`.

    Args:
      a: contiguous; only the lower triangle is read.
      block: columns factored at a time. Need not divide d.
      progress: show a progress bar.

    Raises:
      LinAlgError: `a` is not positive definite; `a` is then spoilt.
    """
    d = len(a)
    with tqdm(total=d, desc="Cholesky", unit="row", disable=not progress, dynamic_ncols=True) as bar:
        for start in range(0, d, block):
            stop = min(start + block, d)
            for first in range(start, d, block):
                last = min(first + block, d)
                square = a[first:last, start:stop].astype(np.float64)
                # numpy's product takes 64-bit sizes and strided operands; scipy's routines see only squares.
                for k in range(0, start, _TERMS):
                    terms = slice(k, min(k + _TERMS, start))
                    square -= a[first:last, terms] @ a[start:stop, terms].T
                if first == start:
                    factor, info = lapack.dpotrf(square, lower=1, clean=1)
                    if info or not np.isfinite(factor).all():  # OpenBLAS lets NaN through.
                        raise np.linalg.LinAlgError(f"not positive definite in rows {start} to {stop} of {d}")
                    a[start:stop, start:stop] = factor
                else:
                    # x factor^T = square, transposed: a row-major square is a column-major one on its side.
                    a[first:last, start:stop] = blas.dtrsm(1.0, factor, square.T, lower=1).T
            a[start:stop, stop:] = 0
            bar.update(stop - start)
