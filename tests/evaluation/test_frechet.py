"""The Frechet distance and its moments against other formulas, torch-fidelity and known answers.

Covers: `metrics.frechet`.
"""

import numpy as np
import pytest
from paths import GOLDENS
from scipy import linalg

from fdrl_jax.evaluation.metrics import Moments, frechet_distance
from fdrl_jax.evaluation.metrics.frechet import MAX_DIMENSION, Reference, rank
from fdrl_jax.types import InputError


def features(count, d, seed, scale=1.0, shift=0.0):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((count, d)) @ (generator.standard_normal((d, d)) * scale) + shift


def mean_and_covariance(x):
    moments = Moments([x])
    return moments.mean, moments.covariance


def test_moments_in_batches_are_those_of_the_whole():
    x = features(103, 5, 0, shift=3.0)
    moments = Moments(x[first : first + 10] for first in range(0, 103, 10))
    assert moments.count == 103
    np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance, np.cov(x, rowvar=False), rtol=1e-11)


def test_features_far_from_zero_lose_no_digits():
    x = features(50, 3, 0)
    moments = Moments([x[:20] + 1e8, x[20:] + 1e8])
    # In float64 a number of 1e8 keeps an absolute precision of 1e-8; a sum of squares about 0 would lose all digits.
    np.testing.assert_allclose(moments.covariance, np.cov(x, rowvar=False), rtol=1e-6)


def test_moments_of_too_few_not_finite_or_too_long_vectors_are_refused():
    with pytest.raises(InputError, match="at least 2 examples, not 1"):
        _ = Moments([np.ones((1, 3))]).covariance
    with pytest.raises(InputError, match="features are not finite"):
        Moments([np.full((2, 3), np.nan)])
    with pytest.raises(InputError, match=f"at most {MAX_DIMENSION} dimensions, not {MAX_DIMENSION + 1}"):
        Moments([np.zeros((1, MAX_DIMENSION + 1), np.uint8)])


def test_frechet_distance_is_the_formula_with_a_matrix_square_root():
    a, b = mean_and_covariance(features(60, 6, 0)), mean_and_covariance(features(80, 6, 1, 2.0, 1.0))
    root = linalg.sqrtm(a[1] @ b[1]).real
    expected = np.square(a[0] - b[0]).sum() + np.trace(a[1] + b[1] - 2 * root)
    assert frechet_distance(*a, *b) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(*b, *a) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_agrees_with_torch_fidelity():
    with np.load(GOLDENS / "inception.npz") as golden:
        a, b = (mean_and_covariance(golden[f"frechet_features_{side}"]) for side in "ab")
        assert frechet_distance(*a, *b) == pytest.approx(float(golden["frechet"]), rel=1e-6)


def test_gaussians_with_diagonal_covariances_have_a_closed_form():
    mean, variances = np.array([1.0, -2.0]), (np.array([4.0, 9.0]), np.array([1.0, 16.0]))
    distance = frechet_distance(np.zeros(2), np.diag(variances[0]), mean, np.diag(variances[1]))
    assert distance == pytest.approx(5.0 + (2 - 1) ** 2 + (3 - 4) ** 2)


def test_fewer_examples_than_dimensions_give_a_finite_distance():
    a, b = mean_and_covariance(features(10, 30, 0)), mean_and_covariance(features(12, 30, 1))
    assert rank(a[1]) == 9  # One less than the number of examples.
    distance = frechet_distance(*a, *b)
    assert np.isfinite(distance)
    assert distance > 0
    assert frechet_distance(*a, *a) == pytest.approx(0, abs=1e-5 * np.trace(a[1]))


def test_a_reference_of_other_features_is_refused():
    with pytest.raises(InputError, match="have 3 dimensions and the reference 4"):
        Reference(np.zeros(4), np.eye(4)).distance(np.zeros(3), np.eye(3))
