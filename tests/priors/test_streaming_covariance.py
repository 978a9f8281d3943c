"""Mean and covariance in one pass over the data, against numpy's in float64.

Covers: `streaming_covariance`, `example_blocks`.
"""

import numpy as np
import pytest
from synthetic_images import relative_error, smooth_images

from fdrl_jax.priors.streaming_covariance import moments
from fdrl_jax.utils.pixel_scaling import to_float


@pytest.mark.parametrize("block", [1, 7, 80, 150, 1000])
@pytest.mark.parametrize("rows", [1, 9, 70, 1000])
def test_moments_do_not_depend_on_the_block_sizes(block, rows):
    data = np.random.default_rng(0).standard_normal((70, 50, 3)) @ np.array([[1, 0, 1], [0, 2, 1], [0, 0, 0.5]])
    mean, covariance = moments(data, block, rows)
    flat = data.reshape(70, 150)
    np.testing.assert_allclose(mean, flat.mean(axis=0), atol=1e-7)
    expected = np.tril(np.cov(flat.T, bias=True))
    assert relative_error(covariance, expected) < 1e-6
    assert not np.triu(covariance, 1).any()


@pytest.mark.parametrize(
    ("kind", "count", "bound"),
    # The aim is 1e-5. Rounding the exact covariance to float32 gives 2.5e-8; sums over few uint8 examples are exact.
    [("uint8", 2000, 4e-8), ("uint8", 20_000, 1e-6), ("float32", 20_000, 1e-6), ("float64", 20_000, 1e-6)],
)
def test_covariance_is_accurate(kind, count, bound):
    images = smooth_images(count, 16)
    _, covariance = moments(images if kind == "uint8" else to_float(images).astype(kind))
    exact = images.reshape(len(images), -1) / 127.5 - 1
    assert relative_error(covariance, np.tril(np.cov(exact.T, bias=True))) < bound


def test_mean_far_from_zero_costs_no_accuracy():
    data = 1e5 / 3 + np.random.default_rng(0).standard_normal((3000, 20))
    mean, covariance = moments(data)
    np.testing.assert_allclose(mean, data.mean(axis=0), rtol=1e-12)
    assert relative_error(covariance, np.tril(np.cov(data.T, bias=True))) < 1e-6
