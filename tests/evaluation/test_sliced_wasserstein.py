"""The sliced Wasserstein distance in cases whose answer is known.

Covers: `metrics.sliced_wasserstein`.
"""

import numpy as np
import pytest

from fdrl_jax.evaluation.metrics import sliced_wasserstein
from fdrl_jax.types import InputError


def cloud(count, seed, shift=0.0, shape=(2,)):
    return np.random.default_rng(seed).standard_normal((count, *shape)) + shift


def test_distance_of_a_shift_in_one_dimension_is_the_shift():
    a = cloud(50, 0, shape=(1,))
    assert sliced_wasserstein(a, a[::-1] + 2.5) == pytest.approx(2.5)


def test_distance_of_a_shift_in_the_plane_is_its_mean_projection():
    # E |v . theta| = 2 |v| / pi for theta uniform on the circle, with standard deviation |v| sqrt(1/2 - 4/pi^2). Here
    # |v| = 5.
    a, projections = cloud(50, 0), 10_000
    distance = sliced_wasserstein(a, a + np.array([3.0, 4.0]), projections)
    assert abs(distance - 10 / np.pi) < 4 * 5 * np.sqrt((0.5 - 4 / np.pi**2) / projections)


def test_distance_is_symmetric_homogeneous_and_independent_of_order():
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
    with pytest.raises(InputError, match="two sets of the same shape"):
        sliced_wasserstein(np.zeros(a), np.zeros(b))
