"""Precision, recall, density and coverage against brute force, and in cases whose answer is known.

Covers: `metrics.knn_precision_recall`.
"""

import numpy as np
import pytest

from fdrl_jax.evaluation.metrics import knn_precision_recall, neighbourhoods, precision_recall
from fdrl_jax.types import InputError


def cloud(count, seed, shift=0.0, shape=(2,)):
    return np.random.default_rng(seed).standard_normal((count, *shape)) + shift


def features(count, d, seed, scale=1.0, shift=0.0):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((count, d)) @ (generator.standard_normal((d, d)) * scale) + shift


# --- precision and recall ---


def inside(points, centres, k):
    """Return the fraction of `points` in a ball of `centres`, by the definition of arXiv 1904.06991, Eq. 1 and 2."""
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
    assert 0 < actual.recall != actual.precision < 1  # With equal values the test could not distinguish them.


def test_k_is_three_by_default():
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
    with pytest.raises(InputError, match=f"k = {k} .*, not {n} and {m}"):
        precision_recall(cloud(n, 0), cloud(m, 1), k)


# --- density and coverage ---


@pytest.mark.parametrize("k", [1, 5])
def test_density_and_coverage_match_brute_force(k):
    data, samples = features(30, 2, 0), features(20, 2, 1, 1.5)
    radii = [sorted(np.linalg.norm(x - data, axis=1))[k] for x in data]
    inside = np.array([[np.linalg.norm(x - s) <= r for s in samples] for x, r in zip(data, radii, strict=True)])
    terms = neighbourhoods(data, samples, k).terms()
    np.testing.assert_array_equal(terms["density"], inside.sum(axis=0) / k)
    np.testing.assert_array_equal(terms["coverage"], inside.any(axis=1))
    np.testing.assert_array_equal(terms["precision"], inside.any(axis=0))
    assert 0 < terms["coverage"].mean() < 1


def test_distances_computed_a_few_rows_at_a_time_are_the_same(monkeypatch):
    data, samples = features(30, 2, 0), features(20, 2, 1, 1.5)
    whole = neighbourhoods(data, samples, 3)
    monkeypatch.setattr(knn_precision_recall, "_MAX_DISTANCES", 70)
    for part, expected in zip(neighbourhoods(data, samples, 3), whole, strict=True):
        np.testing.assert_array_equal(part, expected)


def test_uint8_images_do_not_wrap_around():
    data = np.random.default_rng(0).integers(0, 256, (40, 3, 3, 1), np.uint8)
    samples = np.random.default_rng(1).integers(0, 256, (40, 3, 3, 1), np.uint8)
    a, b = neighbourhoods(data, samples, 3), neighbourhoods(data.astype(np.float64), samples.astype(np.float64), 3)
    np.testing.assert_array_equal(a.balls, b.balls)
