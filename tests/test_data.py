"""Data sets: the sampler's bookkeeping, the toy distributions' moments, and pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from fdrl_jax import data
from fdrl_jax.pixels import to_float, to_uint8
from fdrl_jax.types import InputError

# --- the sampler of arrays ---


def numbered(count, **options):
    return data.ArrayDataset(np.arange(count, dtype=np.float32)[:, None], **options)


@settings(deadline=None, max_examples=50)
@given(count=st.integers(1, 40), size=st.integers(1, 100), steps=st.integers(1, 12), seed=st.integers(0, 2**32))
def test_epochs_are_permutations_whatever_the_batch_size(count, size, steps, seed):
    dataset = numbered(count)
    sequence = np.concatenate([dataset.indices(seed, step, size) for step in range(steps)])
    assert len(sequence) == steps * size
    whole = len(sequence) // count * count
    epochs = sequence[:whole].reshape(-1, count)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(count), (len(epochs), 1)))
    assert len(np.unique(sequence[whole:])) == len(sequence) - whole  # The epoch that was begun.
    # The same endless sequence, read one example at a time and backwards.
    last = len(sequence) - 1
    assert [int(dataset.indices(seed, i, 1)[0]) for i in (last, last // 2, 0)] == [
        sequence[i] for i in (last, last // 2, 0)
    ]


def test_a_batch_is_a_function_of_seed_and_step():
    dataset, fresh = numbered(50), numbered(50)
    for step in (7, 0, 7, 123):
        batch = dataset.batch(3, step, 16)
        assert batch.shape == (16, 1)
        np.testing.assert_array_equal(batch[:, 0], dataset.indices(3, step, 16))
        np.testing.assert_array_equal(batch, fresh.batch(3, step, 16))
    assert not np.array_equal(dataset.batch(3, 7, 16), dataset.batch(4, 7, 16))


def test_epochs_are_shuffled_afresh():
    first, second = (numbered(100).indices(0, epoch, 100) for epoch in (0, 1))
    assert not np.array_equal(first, np.arange(100))
    assert not np.array_equal(first, second)


def test_flips_mirror_left_to_right_half_of_the_time():
    images = np.random.default_rng(0).integers(0, 256, (64, 4, 5, 3), dtype=np.uint8)
    original = images.copy()
    plain, flipping = data.ArrayDataset(images), data.ArrayDataset(images, flip=True)
    mirrored = []
    for step in range(10):
        as_is, maybe = plain.batch(1, step, 64), flipping.batch(1, step, 64)
        is_mirrored = (maybe == as_is[:, :, ::-1, :]).all(axis=(1, 2, 3))
        assert (is_mirrored ^ (maybe == as_is).all(axis=(1, 2, 3))).all()
        np.testing.assert_array_equal(maybe, flipping.batch(1, step, 64))
        mirrored.append(is_mirrored)
    share = np.mean(mirrored)
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(640)  # Four standard errors.
    assert len(np.unique(mirrored, axis=0)) == 10  # Other flips at other steps.
    np.testing.assert_array_equal(images, original)


def test_empty_data_set_is_refused():
    with pytest.raises(InputError, match="empty"):
        numbered(0)


# --- points ---

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


def test_gaussian_has_its_moments():
    n = 50_000
    points = data.gaussian((6.0, -1.0), 0.1).batch(0, 0, n).astype(np.float64)
    assert (np.abs(points.mean(axis=0) - [6, -1]) < 4 * np.sqrt(0.1 / n)).all()
    covariance_errors = 0.1 * np.sqrt(np.array([[2, 1], [1, 2]]) / n)
    assert (np.abs(np.cov(points.T) - 0.1 * np.eye(2)) < 4 * covariance_errors).all()


# The authors' code: radius 2, sd 0.02, all / 1.414; a grid of -4, -2, 0, 2, 4, sd 0.05, all / 2.828.
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
def test_mixtures_have_equal_modes_at_their_places(name, centres, sd):
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


def test_swissroll_lies_about_its_spiral():
    # scikit-learn's (t cos t, t sin t), t uniform on [1.5 pi, 4.5 pi], noise 0.25 in each coordinate, all / 7.5.
    n = 20_000
    points = data.swissroll().batch(0, 0, n).astype(np.float64) * 7.5
    t = np.linspace(1.5 * np.pi, 4.5 * np.pi, 2000)
    spiral = np.stack([t * np.cos(t), t * np.sin(t)], axis=1)
    distance = np.min([((points - place) ** 2).sum(axis=1) for place in spiral], axis=0) ** 0.5
    # Across the curve the noise is one-dimensional; 0.02 covers what curvature and the two ends add.
    assert np.sqrt((distance**2).mean()) == pytest.approx(0.25, rel=0.02)
    # E |x|^2 = E t^2 + 2 noise^2 for t uniform on [a, b]: (b^3 - a^3) / (3 (b - a)) + 0.125.
    a, b = t[[0, -1]]
    radius = (points**2).sum(axis=1)
    assert abs(radius.mean() - (b**3 - a**3) / (3 * (b - a)) - 0.125) < 4 * radius.std() / np.sqrt(n)


# --- pixels ---


def test_digits_are_scikit_learns_over_the_whole_range():
    digits = data.digits()
    assert isinstance(digits, data.Dataset)
    assert digits.examples.shape == (1797, 8, 8, 1)
    assert digits.examples.dtype == digits.batch(0, 0, 4).dtype == np.uint8
    assert digits.event_shape == (8, 8, 1)
    # 17 grey levels, k / 16 of 255, to the nearest integer.
    np.testing.assert_allclose(digits.examples[..., 0], load_digits().images * 255 / 16, atol=0.5)
    assert len(np.unique(digits.examples)) == 17
    assert (digits.examples.min(), digits.examples.max()) == (0, 255)
    np.testing.assert_array_equal(to_uint8(to_float(digits.examples)), digits.examples)


def test_pixels_map_bytes_onto_minus_one_to_one_and_back():
    levels = np.arange(256, dtype=np.uint8)
    floats = to_float(levels)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, np.linspace(-1, 1, 256), atol=1e-6)
    np.testing.assert_array_equal(to_uint8(floats), levels)


def test_floats_pass_and_out_of_range_floats_clip():
    x = np.array([-3.0, -1.0, 0.0, 1.0, 7.0], np.float32)
    np.testing.assert_array_equal(to_float(x), x)
    np.testing.assert_array_equal(to_uint8(x), [0, 0, 128, 255, 255])  # 127.5 rounds to even.
