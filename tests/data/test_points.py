"""The 2-D data sets, against the moments and modes of their distributions."""

import numpy as np
import pytest

from fdrl_jax import data

POINT_DATASETS = {
    "gaussian": data.gaussian((6.0, 6.0), 0.1),
    "swissroll": data.swissroll(),
    "eight_gaussians": data.eight_gaussians(),
    "twentyfive_gaussians": data.twentyfive_gaussians(),
}


@pytest.mark.parametrize("dataset", POINT_DATASETS.values(), ids=POINT_DATASETS)
def test_points_are_float32_and_a_function_of_seed_and_step(dataset):
    assert isinstance(dataset, data.Dataset)
    batch = dataset.batch(5, 2, 32)
    assert batch.shape == (32, *dataset.event_shape)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, dataset.batch(5, 2, 32))
    for other in (dataset.batch(5, 3, 32), dataset.batch(6, 2, 32)):
        assert not np.isin(batch, other).any()


def test_gaussian_has_the_given_moments():
    n = 50_000
    points = data.gaussian((6.0, -1.0), 0.1).batch(0, 0, n).astype(np.float64)
    assert (np.abs(points.mean(axis=0) - [6, -1]) < 4 * np.sqrt(0.1 / n)).all()
    covariance_errors = 0.1 * np.sqrt(np.array([[2, 1], [1, 2]]) / n)
    assert (np.abs(np.cov(points.T) - 0.1 * np.eye(2)) < 4 * covariance_errors).all()


# In the authors' code eight modes have radius 2 and sd 0.02, all divided by 1.414, and the modes of the grid are at -4,
# -2, 0, 2, 4 with sd 0.05, all divided by 2.828.
@pytest.mark.parametrize(
    ("name", "centres", "sd"),
    [
        (
            "eight_gaussians",
            [(np.cos(t) / 0.707, np.sin(t) / 0.707) for t in np.arange(8) * np.pi / 4],
            0.02 / 1.414,
        ),
        ("twentyfive_gaussians", [(i / 1.414, j / 1.414) for i in range(-2, 3) for j in range(-2, 3)], 0.05 / 2.828),
    ],
)
def test_mixtures_have_modes_of_equal_weight_at_the_right_positions(name, centres, sd):
    n = 50_000
    points = POINT_DATASETS[name].batch(0, 0, n).astype(np.float64)
    offsets = points[:, None] - np.array(centres)
    nearest = (offsets**2).sum(axis=-1).argmin(axis=1)
    counts = np.bincount(nearest, minlength=len(centres))
    assert (np.abs(counts - n / len(centres)) < 4 * np.sqrt(n / len(centres))).all()
    residual = offsets[np.arange(n), nearest]
    assert residual.std() == pytest.approx(sd, rel=4 / np.sqrt(4 * n))
    means = np.stack([residual[nearest == mode].mean(axis=0) for mode in range(len(centres))])
    assert (np.abs(means) < 5 * sd / np.sqrt(counts)[:, None]).all()


def test_swissroll_is_a_spiral_with_noise():
    # scikit-learn's points are (t cos t, t sin t) with t uniform on [1.5 pi, 4.5 pi] and noise 0.25 in each coordinate;
    # the data set divides them by 7.5.
    n = 20_000
    points = data.swissroll().batch(0, 0, n).astype(np.float64) * 7.5
    t = np.linspace(1.5 * np.pi, 4.5 * np.pi, 2000)
    spiral = np.stack([t * np.cos(t), t * np.sin(t)], axis=1)
    distance = np.min([((points - point) ** 2).sum(axis=1) for point in spiral], axis=0) ** 0.5
    # The noise across the curve is one-dimensional. The tolerance 0.02 covers the effects of curvature and of the ends.
    assert np.sqrt((distance**2).mean()) == pytest.approx(0.25, rel=0.02)
    # E |x|^2 = E t^2 + 2 noise^2 for t uniform on [a, b]: (b^3 - a^3) / (3 (b - a)) + 0.125.
    a, b = t[[0, -1]]
    radius = (points**2).sum(axis=1)
    assert abs(radius.mean() - (b**3 - a**3) / (3 * (b - a)) - 0.125) < 4 * radius.std() / np.sqrt(n)
