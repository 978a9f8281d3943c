"""The blocked Cholesky factorisation, against numpy's."""

import numpy as np
import pytest
from parity import assert_close

from fdrl_jax.priors import cholesky
from fdrl_jax.priors.cholesky import cholesky_in_place


@pytest.mark.parametrize(("d", "block"), [(1, 1), (5, 2), (64, 64), (65, 64), (130, 64), (130, 200)])
def test_cholesky_by_blocks_is_the_factor(d, block, monkeypatch):
    monkeypatch.setattr(cholesky, "_TERMS", 24)  # It divides no block size, so that long sums are also split.
    x = np.random.default_rng(d).standard_normal((d, d + 5))
    a = (x @ x.T / d + 0.1 * np.eye(d)).astype(np.float32)
    expected = np.linalg.cholesky(a.astype(np.float64))
    a[np.triu_indices(d, 1)] = np.nan  # This triangle is not read, and is set to zero.
    cholesky_in_place(a, block)
    assert_close(a, expected, 1e-5)


@pytest.mark.parametrize("row", [0, 3, 9])
@pytest.mark.parametrize("value", [-1.0, 0.0, np.nan])
def test_cholesky_refuses_a_matrix_that_is_not_positive_definite(row, value):
    a = np.eye(10, dtype=np.float32)
    a[row, row] = value
    with pytest.raises(np.linalg.LinAlgError):
        cholesky_in_place(a, 4)
