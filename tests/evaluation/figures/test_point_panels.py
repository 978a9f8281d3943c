"""Panels of points: their axes, and the count of particles outside them.

Covers: `figures.point_panels`.
"""

import numpy as np
import pytest

from fdrl_jax.evaluation.figures import point_panels


def test_particles_outside_the_axes_are_counted():
    points = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, -3.0], [np.nan, 0.0]])
    assert point_panels._share_outside(points, ((-1, 1), (-1, 1))) == 0.75


def test_limits_are_a_square_around_most_points():
    cloud = np.random.default_rng(0).uniform(0, 1, (1000, 2)) * [4, 1]
    cloud[0] = 1e6
    (left, right), (bottom, top) = point_panels.frame_limits(cloud)
    assert -1 < left < 0 < 4 < right < 5
    assert right - left == pytest.approx(top - bottom)
