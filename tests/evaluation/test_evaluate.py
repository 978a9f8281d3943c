"""Evaluation of a run's samples (`--mode=evaluate`): its numbers and the results file.

Covers: `protocols.evaluate`, `protocols.compute_metric`, `protocols.feature_vectors`, `protocols.results_file`.
"""

import dataclasses
import json

import numpy as np
import pytest
import shrink

import fdrl_jax
from fdrl_jax import cli
from fdrl_jax.evaluation import metrics, protocols
from fdrl_jax.experiment import builders
from fdrl_jax.utils.pixel_scaling import to_uint8


@pytest.fixture(scope="module")
def points_run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("points") / "run"
    shrink.trained(shrink.tiny_points(), workdir)
    return workdir


def run(*argv):
    return cli.run(["main.py", "--mode=evaluate", *argv])


def training_images(model):
    return builders.dataset(model.experiment).examples


def numbers(results):
    return {result.metric: result.value for result in results}


# --- numbers ---


def test_the_training_images_themselves_are_perfect(model):
    requested = protocols.parse("precision_recall,density_coverage,frechet,sliced_wasserstein,kid@pixels")
    results = protocols.evaluate(model, requested, num_samples=1, samples=training_images(model), replicates=3)
    values = numbers(results)
    assert (values["precision"], values["recall"], values["coverage"]) == (1, 1, 1)
    # Each image is in its own ball, and on average in the balls of k = 5 others, except for ties.
    assert values["density"] == pytest.approx(6 / 5, abs=0.02)
    assert abs(values["frechet"]) < 1e-6 * np.var(training_images(model)) * 64
    # The reference has all the images in another order, so the distance is 0.
    assert values["sliced_wasserstein"] == pytest.approx(0, abs=1e-9)
    assert {result.num_samples for result in results} == {1500} == {result.num_reference for result in results}


def test_numbers_equal_those_of_the_metric_functions_on_rounded_samples(model):
    samples = fdrl_jax.sample(model, 3, 40, num_steps=2, progress=False)
    requested = protocols.parse("precision_recall,frechet,density_coverage")
    results = protocols.evaluate(model, requested, num_samples=40, seed=3, num_steps=2, replicates=5, progress=False)
    values, data = numbers(results), training_images(model)
    assert metrics.precision_recall(data, to_uint8(samples)) == (values["precision"], values["recall"])
    a, b = (metrics.Moments([to_uint8(samples).reshape(40, -1)]), metrics.Moments([data.reshape(1500, -1)]))
    assert values["frechet"] == pytest.approx(
        metrics.frechet_distance(b.mean, b.covariance, a.mean, a.covariance),
        rel=1e-7,  # The square root of an eigenvalue that is 0 up to rounding has an error of 1e-8.
    )
    density = metrics.neighbourhoods(data, to_uint8(samples), 5).terms()["density"].mean()
    assert values["density"] == pytest.approx(density)
    frechet = next(result for result in results if result.metric == "frechet")
    assert frechet.warnings[0].startswith("40 samples in 64 dimensions: their covariance has rank 39, and")
    assert len(frechet.warnings) == 1  # There are more reference images than dimensions.
    assert (frechet.seed, frechet.flow_steps, frechet.step, frechet.ema) == (3, 2, 4, True)
    assert frechet.interval[0] < frechet.value < frechet.interval[1]


def test_points_are_compared_with_fresh_draws(points_run, capsys):
    assert run(f"--workdir={points_run}", "--metrics=sliced_wasserstein,precision_recall", "--num_samples=50") == 0
    lines = [json.loads(line) for line in (points_run / protocols.RESULTS_FILE).read_text().splitlines()]
    assert [line["metric"] for line in lines] == ["sliced_wasserstein", "precision", "recall"]
    assert lines[0]["reference"] == "fresh draws of gaussian"
    assert lines[0]["value"] > 0
    assert run(f"--workdir={points_run}", "--metrics=frechet@lite0", "--num_samples=5") == 2
    assert "the features 'lite0' are of images, but this run makes points: use METRIC@pixels" in capsys.readouterr().err


# --- results file ---


def test_results_are_appended_with_everything_they_depend_on(digits_run, capsys):
    (digits_run / protocols.RESULTS_FILE).unlink(missing_ok=True)  # Other tests use the same run.
    flags = (f"--workdir={digits_run}", "--num_samples=25", "--replicates=2", "--noema", "--kappa=0", "--seed=7")
    assert run(*flags, "--metrics=frechet") == 0
    assert run(*flags, "--metrics=precision_recall", "--step=2") == 0
    lines = [json.loads(line) for line in (digits_run / protocols.RESULTS_FILE).read_text().splitlines()]
    assert [(line["metric"], line["step"]) for line in lines] == [("frechet", 4), ("precision", 2), ("recall", 2)]
    assert set(lines[0]) == {field.name for field in dataclasses.fields(protocols.Result)}
    first = lines[0]
    assert (first["ema"], first["flow_steps"], first["seed"], first["confidence"]) == (False, 3, 7, 0.95)
    assert first["versions"]["fdrl_jax"] == fdrl_jax.__version__
    assert "warning: 25 samples in 64 dimensions" in capsys.readouterr().out


def test_the_best_checkpoint_is_the_one_evaluated(digits_run):
    best = json.loads((digits_run / "best.json").read_text())
    assert run(f"--workdir={digits_run}", "--step=best", "--metrics=frechet", "--num_samples=5", "--replicates=2") == 0
    last = json.loads((digits_run / protocols.RESULTS_FILE).read_text().splitlines()[-1])
    assert last["step"] == best["step"]
