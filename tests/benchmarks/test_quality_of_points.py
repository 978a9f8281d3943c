"""The measures of points that benchmarks of quality compute themselves; their trainings take minutes and are not run.

Covers: `quality.gaussians`, `quality.points`.
"""

import types

import numpy as np
import pytest

from benchmarks.quality import gaussians, points


def test_the_path_of_the_mean_has_a_point_for_each_training():
    means = np.zeros((len(gaussians.TRAINING_STEPS), 2))
    picture = gaussians._path(means, (6.0, 6.0))
    assert picture.dtype == np.uint8
    with pytest.raises(ValueError, match="shorter"):
        gaussians._path(means[1:], (6.0, 6.0))


def test_a_perfect_sampler_has_distance_one(monkeypatch):
    def draw(seed, step, count):
        return np.random.default_rng(step).normal(size=(count, 2)).astype(np.float32)

    def sample(model, seed, count, num_steps=None, **_):
        return draw(0, -seed, count) + (5.0 if num_steps == 0 else 0.0)

    monkeypatch.setattr(points, "NUM_SAMPLES", 500)
    monkeypatch.setattr(points.builders, "dataset", lambda experiment: types.SimpleNamespace(batch=draw))
    monkeypatch.setattr(points.sampling, "sample", sample)
    data, samples, distance, prior = points.measure(types.SimpleNamespace(experiment=None))
    assert data.shape == samples.shape == (500, 2)
    assert distance == pytest.approx(1, rel=0.5)
    assert prior > 20
