"""Fig. 5: metrics against those of `--mode=evaluate`, and curves against metrics of single sets of samples.

Covers: `figures.fig5_metrics_by_flow_length`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdrl_jax.evaluation import figures, metrics
from fdrl_jax.evaluation.figures import fig5_metrics_by_flow_length as fig5
from fdrl_jax.inference import sampling
from fdrl_jax.types import InputError
from fdrl_jax.utils.pixel_scaling import to_float, to_uint8


def image_sets(size=8):
    generator = np.random.default_rng(2)
    data = generator.integers(0, 256, (60, size, size, 1), dtype=np.uint8)
    return data, to_float(data[:40]) * 0.6 + 0.1 * generator.standard_normal((40, size, size, 1)).astype(np.float32)


def test_precision_and_recall_are_those_of_evaluation():
    data, samples = image_sets()
    precision, recall, _ = figures.image_metrics(data, len(samples)).values()
    chosen = np.sort(np.random.default_rng(0).permutation(60)[:40])
    expected = metrics.precision_recall(data[chosen], to_uint8(samples), k=3)
    assert precision(samples)[0] == pytest.approx(expected.precision)
    assert recall(samples)[0] == pytest.approx(expected.recall)
    assert expected.precision > 0
    assert 0 < expected.recall < 1


@pytest.mark.parametrize("side", [4, 32])
def test_frechet_distance_is_that_of_reduced_images(side, monkeypatch):
    monkeypatch.setattr(fig5, "_MAX_SIDE", side)
    data, samples = image_sets()
    _, _, frechet = figures.image_metrics(data, len(samples)).values()
    a, b = (x.astype(np.float64) for x in (data, to_uint8(samples)))
    if side == 4:
        a, b = (x.reshape(len(x), 4, 2, 4, 2).mean(axis=(2, 4)) for x in (a, b))
    sets = [x.reshape(len(x), -1) for x in (a, b)]
    moments = [m for x in sets for m in (x.mean(axis=0), np.cov(x, rowvar=False))]
    value, low, high = frechet(samples)
    assert value == pytest.approx(metrics.frechet_distance(*moments), rel=1e-6)
    assert low < value < high


def test_too_few_samples_for_neighbours_are_refused():
    metric = figures.image_metrics(image_sets()[0], 3)["k-NN precision (higher is better)"]
    with pytest.raises(InputError, match="more than k examples in each set, not 3 and 3"):
        metric(np.zeros((3, 8, 8, 1), np.float32))


def test_a_curve_is_the_metric_at_each_length(model):
    curve = figures.flow_length_curve(
        model, 1, 6, lambda x: (x.mean(), x.min(), x.max()), [1, 4], batch_size=4, progress=False
    )
    assert curve.lengths.tolist() == [1, 4]
    for i, length in enumerate(curve.lengths):
        x = sampling.sample(model, 1, 6, num_steps=int(length), progress=False)
        np.testing.assert_allclose([curve.value[i], curve.low[i], curve.high[i]], [x.mean(), x.min(), x.max()], 1e-4)


def test_a_flow_that_left_the_finite_numbers_is_not_measured(model):
    broken = dataclasses.replace(model, params=jax.tree.map(lambda x: x * jnp.nan, model.params))
    curve = figures.flow_length_curve(broken, 0, 2, lambda x: pytest.fail("measured"), [1], progress=False)
    assert np.isnan(curve.value).all()


def test_default_lengths_go_60_beyond_training_and_through_kappa(model):
    flow = model.experiment.config["flow"]
    assert (flow["num_steps"], flow["kappa"]) == (3, 2)
    lengths = figures.default_lengths(model)
    assert lengths[:4] == [3, 5, 8, 13]
    assert lengths[-1] == 63
