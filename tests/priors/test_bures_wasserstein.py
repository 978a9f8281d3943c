"""The Wasserstein-2 distance between Gaussians, against its formula and against cases whose answer is known."""

import numpy as np
import pytest
from scipy import linalg
from synthetic_images import smooth_images

from fdrl_jax.priors import bures_wasserstein, fit_gaussian, fit_low_rank, prior_distance
from fdrl_jax.types import InputError


def normal(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape)


def orthogonal(d, seed):
    return np.linalg.qr(normal((d, d), seed))[0]


def test_in_one_dimension_it_is_the_difference_of_means_and_deviations():
    distance = bures_wasserstein(np.array([1.0]), np.array([[2.0]]), np.array([4.0]), np.array([[-6.0]]))
    assert distance == pytest.approx(5)  # 3^2 + (2 - 6)^2; the sign of a factor does not matter.


def test_along_common_axes_it_is_the_difference_of_deviations():
    axes, a, b = orthogonal(5, 0), np.arange(5.0), np.array([2.0, 0, 1, 7, 3])
    mean = np.zeros(5)
    distance = bures_wasserstein(mean, axes * a, mean + 1, axes * b)
    assert distance == pytest.approx(np.sqrt(5 + np.square(a - b).sum()))


def test_bures_wasserstein_matches_its_formula_for_any_factors():
    a, b = normal((6, 6), 0), normal((6, 9), 1)
    mean_a, mean_b = normal((2, 2, 3), 2)
    root = linalg.sqrtm(a @ a.T)
    cross = np.trace(linalg.sqrtm(root @ (b @ b.T) @ root)).real
    expected = np.sqrt(np.square(mean_a - mean_b).sum() + np.trace(a @ a.T) + np.trace(b @ b.T) - 2 * cross)
    assert bures_wasserstein(mean_a, a, mean_b, b) == pytest.approx(expected)
    assert bures_wasserstein(mean_b, b, mean_a, a) == pytest.approx(expected)
    rotated = bures_wasserstein(mean_a, a @ orthogonal(6, 3), mean_b, np.linalg.cholesky(b @ b.T))
    assert rotated == pytest.approx(expected)


def test_it_is_accurate_with_small_eigenvalues():
    # Variances from 1e3 to 1e-9, as those of images. The root of the product of covariances in float64 has an error of
    # 1e-3.
    factor = orthogonal(200, 0) * np.geomspace(1e1, 1e-4, 200)
    mean = np.zeros(200)
    assert bures_wasserstein(mean, factor, mean, factor @ orthogonal(200, 1)) < 1e-6


@pytest.mark.parametrize(
    "shapes", [((2,), (2, 2), (3,), (3, 3)), ((2,), (3, 3), (2,), (2, 2)), ((2,), (2,), (2,), (1,))]
)
def test_gaussians_of_different_dimensions_are_refused(shapes):
    with pytest.raises(InputError, match="of one dimension"):
        bures_wasserstein(*(np.zeros(shape) for shape in shapes))


def test_low_rank_priors_of_higher_rank_are_closer_to_the_exact_prior():
    images = smooth_images(300, 4)
    exact = fit_gaussian(images)
    low_rank = [fit_low_rank(images, rank) for rank in (2, 20, 48)]
    far, near, full = (prior_distance(exact, prior) for prior in low_rank)
    assert far > near > full
    root = np.linalg.cholesky(low_rank[0].basis @ low_rank[0].basis.T + np.diag(np.ravel(low_rank[0].residual) ** 2))
    assert far == pytest.approx(bures_wasserstein(exact.mean, exact.factor, low_rank[0].mean, root))
    assert full < 0.01  # Both include the jitter.
    assert prior_distance(exact, exact) < 1e-5
