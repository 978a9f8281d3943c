"""What README says the shipped configs reach. Minutes each: `make test-all`."""

import numpy as np
import pytest
import shrink
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import fdrl_jax
from configs import digits, gaussians
from configs.points import PAIRINGS, points_config
from fdrl_jax.data import digits as digits_data
from fdrl_jax.evaluation.metrics import precision_recall, sliced_wasserstein
from fdrl_jax.experiment import builders
from fdrl_jax.utils.pixel_scaling import to_float

pytestmark = pytest.mark.slow


def test_digits(tmp_path):
    model = shrink.trained(digits.get_config(), tmp_path)
    samples = fdrl_jax.sample(model, 0, 1024, progress=False)
    data = to_float(digits_data().examples)  # All of them, also those held out.
    precision, recall = precision_recall(data, samples, k=3)
    assert precision >= 0.84
    assert recall >= 0.84
    judge = SVC().fit(data.reshape(len(data), -1), load_digits().target)
    assert np.bincount(judge.predict(samples.reshape(1024, -1)), minlength=10).min() >= 0.04 * 1024


@pytest.mark.parametrize(("variant", "arrives"), [("near-stale", True), ("far-stale", False), ("far-fdrl", True)])
def test_gaussians(variant, arrives, tmp_path):
    config = gaussians.get_config(variant)
    samples = fdrl_jax.sample(shrink.trained(config, tmp_path), 0, 5000, progress=False)
    error = np.abs(samples.mean(axis=0) - np.array(config.data.mean))
    spread = samples.std(axis=0) / np.sqrt(0.1)
    if arrives:
        assert (error <= 0.15).all()
        assert ((spread >= 0.65) & (spread <= 1.35)).all()
    else:
        assert (error > 1).all()  # Three standard deviations of the target away from it.


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_swissroll_quick(pairing, tmp_path):
    model = shrink.trained(points_config("swissroll", f"quick-{pairing}"), tmp_path)
    samples = fdrl_jax.sample(model, 0, 5000, progress=False)
    # Steps beyond training: points that the model has not seen.
    fresh = [builders.dataset(model.experiment).batch(0, 10**8 + i, 5000) for i in range(10)]
    floor = np.mean([sliced_wasserstein(a, b) for a, b in zip(fresh[::2], fresh[1::2], strict=True)])
    assert np.mean([sliced_wasserstein(samples, x) for x in fresh]) <= 2.5 * floor
