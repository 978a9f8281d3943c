"""Cholesky factorisation of a matrix too large for LAPACK through scipy and for a second copy in memory."""

import numpy as np
from jaxtyping import Float32
from scipy.linalg import blas, lapack
from tqdm.auto import tqdm


def cholesky_in_place(a: Float32[np.ndarray, "d d"], block: int = 1024, progress: bool = False) -> None:
    """Overwrite `a` with its lower Cholesky factor, zero above the diagonal.

    Left-looking: a block of columns is brought up to date with all columns before it by one long product, then
    factored. Memory beside `a`: a few squares of `block`.

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
            diagonal = a[start:stop, start:stop]
            # numpy's product takes 64-bit sizes and strided operands; scipy's routines see only squares of `block`.
            diagonal -= a[start:stop, :start] @ a[start:stop, :start].T
            factor, info = lapack.dpotrf(diagonal.astype(np.float64), lower=1, clean=1)
            if info or not np.isfinite(factor).all():  # OpenBLAS lets NaN through.
                raise np.linalg.LinAlgError(f"not positive definite in rows {start} to {stop} of {d}")
            diagonal[...] = factor
            a[start:stop, stop:] = 0
            factor = factor.astype(np.float32)
            for first in range(stop, d, block):
                panel = a[first : first + block, start:stop]
                panel -= a[first : first + block, :start] @ a[start:stop, :start].T
                # x factor^T = panel, transposed: a row-major panel is a column-major factor^-1 on the left.
                panel[...] = blas.strsm(1.0, factor, panel.T, lower=1).T
            bar.update(stop - start)
