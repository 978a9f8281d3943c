"""Metrics against brute force and against cases whose answer is known."""

import numpy as np
import pytest
from scipy import linalg
from smooth import smooth_images

from fdrl_jax.evaluation import bures_wasserstein, precision_recall, prior_distance, sliced_wasserstein
from fdrl_jax.priors import fit_gaussian, fit_low_rank
from fdrl_jax.types import InputError


def cloud(count, seed, shift=0.0, shape=(2,)):
    return np.random.default_rng(seed).standard_normal((count, *shape)) + shift


# --- precision and recall ---


def inside(points, centres, k):
    """The share of `points` in a ball of `centres`, by the definition of arXiv 1904.06991, Eq. 1 and 2."""
    hits = 0
    for point in points:
        for i, centre in enumerate(centres):
            others = sorted(np.linalg.norm(centre - other) for j, other in enumerate(centres) if j != i)
            if np.linalg.norm(point - centre) <= others[k - 1]:
                hits += 1
                break
    return hits / len(points)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("shape", [(2,), (2, 2, 1)])
def test_precision_and_recall_match_brute_force(shape, k):
    data, samples = cloud(25, 0, shape=shape), 2 * cloud(15, 1, 0.5, shape)
    actual = precision_recall(data, samples, k)
    assert actual.precision == pytest.approx(inside(samples, data, k))
    assert actual.recall == pytest.approx(inside(data, samples, k))
    assert 0 < actual.recall != actual.precision < 1  # A case that tells them apart.


def test_k_is_three_unless_told():
    data, samples = cloud(30, 0), cloud(30, 1, 1.0)
    assert precision_recall(data, samples) == precision_recall(data, samples, 3) != precision_recall(data, samples, 1)


def test_identical_sets_are_perfect_and_disjoint_sets_are_not():
    data = cloud(20, 0)
    assert precision_recall(data, data) == (1, 1)
    assert precision_recall(data, data + 100) == (0, 0)


def test_samples_of_one_mode_of_two_lose_recall_only():
    data = np.concatenate([cloud(40, 0), cloud(40, 1, 50.0)])
    precision, recall = precision_recall(data, data[:40])
    assert (precision, recall) == (1, 0.5)


@pytest.mark.parametrize(("n", "m", "k"), [(3, 10, 3), (10, 3, 3), (10, 10, 0), (0, 10, 3)])
def test_too_few_examples_are_refused(n, m, k):
    with pytest.raises(InputError, match=f"k = {k}"):
        precision_recall(cloud(n, 0), cloud(m, 1), k)


# --- sliced Wasserstein ---


def test_shift_in_one_dimension_is_its_size():
    a = cloud(50, 0, shape=(1,))
    assert sliced_wasserstein(a, a[::-1] + 2.5) == pytest.approx(2.5)


def test_shift_in_the_plane_is_its_mean_projection():
    # E |v . theta| = 2 |v| / pi for theta uniform on the circle, with sd |v| sqrt(1/2 - 4/pi^2); |v| = 5.
    a, projections = cloud(50, 0), 10_000
    distance = sliced_wasserstein(a, a + np.array([3.0, 4.0]), projections)
    assert abs(distance - 10 / np.pi) < 4 * 5 * np.sqrt((0.5 - 4 / np.pi**2) / projections)


def test_distance_is_symmetric_homogeneous_and_blind_to_order():
    a, b = cloud(40, 0), 2 * cloud(40, 1)
    distance = sliced_wasserstein(a, b)
    assert sliced_wasserstein(b, a) == pytest.approx(distance)
    assert sliced_wasserstein(3 * a, 3 * b) == pytest.approx(3 * distance)
    assert sliced_wasserstein(a[::-1], b) == pytest.approx(distance)
    assert sliced_wasserstein(a, a[::-1]) == pytest.approx(0, abs=1e-12)


def test_directions_come_from_the_seed():
    a, b = cloud(40, 0), cloud(40, 1, 1.0)
    assert sliced_wasserstein(a, b, 16) == sliced_wasserstein(a, b, 16, seed=0) != sliced_wasserstein(a, b, 16, seed=1)


@pytest.mark.parametrize(
    ("a", "b"), [((5, 2), (6, 2)), ((5, 2), (5, 3)), ((5,), (5,)), ((5, 2, 2), (5, 2, 2)), ((0, 2), (0, 2))]
)
def test_sets_of_different_shapes_are_refused(a, b):
    with pytest.raises(InputError, match="two sets of one shape"):
        sliced_wasserstein(np.zeros(a), np.zeros(b))


# --- Wasserstein-2 of Gaussians ---


def orthogonal(d, seed):
    return np.linalg.qr(cloud(d, seed, shape=(d,)))[0]


def test_in_one_dimension_it_is_the_difference_of_means_and_deviations():
    distance = bures_wasserstein(np.array([1.0]), np.array([[2.0]]), np.array([4.0]), np.array([[-6.0]]))
    assert distance == pytest.approx(5)  # 3^2 + (2 - 6)^2; a factor's sign does not matter.


def test_along_common_axes_it_is_the_difference_of_deviations():
    axes, a, b = orthogonal(5, 0), np.arange(5.0), np.array([2.0, 0, 1, 7, 3])
    mean = np.zeros(5)
    distance = bures_wasserstein(mean, axes * a, mean + 1, axes * b)
    assert distance == pytest.approx(np.sqrt(5 + np.square(a - b).sum()))


def test_bures_wasserstein_matches_its_formula_for_any_factors():
    a, b = cloud(6, 0, shape=(6,)), cloud(6, 1, shape=(9,))
    mean_a, mean_b = cloud(2, 2, shape=(2, 3))
    root = linalg.sqrtm(a @ a.T)
    cross = np.trace(linalg.sqrtm(root @ (b @ b.T) @ root)).real
    expected = np.sqrt(np.square(mean_a - mean_b).sum() + np.trace(a @ a.T) + np.trace(b @ b.T) - 2 * cross)
    assert bures_wasserstein(mean_a, a, mean_b, b) == pytest.approx(expected)
    assert bures_wasserstein(mean_b, b, mean_a, a) == pytest.approx(expected)
    rotated = bures_wasserstein(mean_a, a @ orthogonal(6, 3), mean_b, np.linalg.cholesky(b @ b.T))
    assert rotated == pytest.approx(expected)


def test_small_eigenvalues_do_not_blur_it():
    # Variances from 1e3 to 1e-9, as of images: the root of the product of covariances in float64 is off by 1e-3.
    factor = orthogonal(200, 0) * np.geomspace(1e1, 1e-4, 200)
    mean = np.zeros(200)
    assert bures_wasserstein(mean, factor, mean, factor @ orthogonal(200, 1)) < 1e-6


@pytest.mark.parametrize(
    "shapes", [((2,), (2, 2), (3,), (3, 3)), ((2,), (3, 3), (2,), (2, 2)), ((2,), (2,), (2,), (1,))]
)
def test_gaussians_of_different_dimensions_are_refused(shapes):
    with pytest.raises(InputError, match="of one dimension"):
        bures_wasserstein(*(np.zeros(shape) for shape in shapes))


def test_fitted_priors_come_nearer_with_the_rank():
    images = smooth_images(300, 4)
    exact = fit_gaussian(images)
    low = [fit_low_rank(images, rank) for rank in (2, 20, 48)]
    far, near, full = (prior_distance(exact, prior) for prior in low)
    assert far > near > full
    root = np.linalg.cholesky(low[0].basis @ low[0].basis.T + np.diag(np.ravel(low[0].residual) ** 2))
    assert far == pytest.approx(bures_wasserstein(exact.mean, exact.factor, low[0].mean, root))
    assert full < 0.01  # Jitter counts in both.
    assert prior_distance(exact, exact) < 1e-5
