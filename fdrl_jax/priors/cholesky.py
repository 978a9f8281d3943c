"""Blocked Cholesky factorisation in place, for a matrix too large for scipy's LAPACK or for a second copy in memory."""

import numpy as np
from jaxtyping import Float32
from scipy.linalg import blas, lapack
from tqdm.auto import tqdm

# Number of products that are summed in float32; such partial sums are then summed in float64. Fewer are slower.
_TERMS = 4096


def cholesky_in_place(a: Float32[np.ndarray, "d d"], block: int = 1024, progress: bool = False) -> None:
    """Overwrite `a` with its lower Cholesky factor, zero above the diagonal.

    The algorithm is left-looking: a block of columns is updated with all columns before it, then factored. So each
    entry is read once and written once, and is rounded to float32 once. Memory in addition to `a`: a few matrices
    [block, block].

    Args:
      a: a contiguous array, of which only the lower triangle is read.
      block: number of columns factored at a time; need not divide d.
      progress: show a progress bar.

    Raises:
      LinAlgError: `a` is not positive definite; a part of `a` is then overwritten.
    """
    d = len(a)
    with tqdm(total=d, desc="Cholesky", unit="row", disable=not progress, dynamic_ncols=True) as bar:
        for start in range(0, d, block):
            stop = min(start + block, d)
            for first in range(start, d, block):
                last = min(first + block, d)
                square = a[first:last, start:stop].astype(np.float64)
                # numpy's product takes 64-bit sizes and strided operands; scipy's routines get only small blocks.
                for k in range(0, start, _TERMS):
                    terms = slice(k, min(k + _TERMS, start))
                    square -= a[first:last, terms] @ a[start:stop, terms].T
                if first == start:
                    factor, info = lapack.dpotrf(square, lower=1, clean=1)
                    if info or not np.isfinite(factor).all():  # OpenBLAS reports no error for NaN.
                        raise np.linalg.LinAlgError(f"not positive definite in rows {start} to {stop} of {d}")
                    a[start:stop, start:stop] = factor
                else:
                    # This solves x factor^T = square, transposed: a row-major matrix is the column-major form of its
                    # transpose, which BLAS takes without a copy.
                    a[first:last, start:stop] = blas.dtrsm(1.0, factor, square.T, lower=1).T
            a[start:stop, stop:] = 0
            bar.update(stop - start)
