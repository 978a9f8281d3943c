"""What training says about itself, and the best checkpoint.

Covers: `best_checkpoint`.
"""

import itertools
import json

import numpy as np
import pytest
import shrink

import fdrl_jax
from fdrl_jax.evaluation import metrics
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.workdir_files import read_best
from fdrl_jax.training import diagnostics, loop
from fdrl_jax.training.best_checkpoint import BestCheckpoint
from fdrl_jax.types import DivergedError, InputError
from fdrl_jax.utils.pixel_scaling import to_uint8


def lines(workdir):
    return [json.loads(line) for line in (workdir / "diagnostics.jsonl").read_text().splitlines()]


def digits(num_steps=4, every=2, best="frechet"):
    config = shrink.tiny_digits(num_steps=num_steps)
    config.diagnostics.update(every=every, num_samples=20, best=best)
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("digits") / "run"
    shrink.trained(digits(), workdir)
    return workdir


def test_a_line_says_what_the_model_does(run):
    row = lines(run)[-1]
    model = fdrl_jax.load(run)
    looks = diagnostics.Diagnostics(model.experiment, builders.dataset(model.experiment))
    steps, states = fdrl_jax.trajectory(model, looks._key, 20, 1, progress=False)
    assert row["flow"]["steps"] == steps.tolist() == [0, 1, 2, 3, 4, 5]
    moved = [np.linalg.norm((b - a).reshape(20, -1), axis=1).mean() for a, b in itertools.pairwise(states)]
    np.testing.assert_allclose(row["flow"]["displacement"], [0, *moved], rtol=1e-5)
    np.testing.assert_allclose(row["flow"]["kl"], [np.log(model.ratio_fn(x)).mean() for x in states], rtol=1e-4)
    held_out = builders.held_out(model.experiment)
    chosen = held_out[np.sort(np.random.default_rng(0).permutation(297)[:20])]
    expected = metrics.precision_recall(chosen, to_uint8(states[-1]))
    assert (row["metrics"]["precision"], row["metrics"]["recall"]) == expected
    assert row["reference"] == "held-out images of digits"
    histogram = row["histogram"]
    assert {name: sum(histogram[name]) for name in ("data", "flowed", "prior")} == dict.fromkeys(
        ("data", "flowed", "prior"), 20
    )
    place = np.digitize(np.log10(model.ratio_fn(states[0])), histogram["edges"]) - 1
    np.testing.assert_array_equal(np.bincount(place, minlength=160), histogram["prior"])


def test_digits_that_are_held_out_are_not_trained_on():
    experiment = builders.build(digits())
    training, held_out = builders.dataset(experiment).examples, builders.held_out(experiment)
    assert (len(training), len(held_out)) == (1500, 297)
    whole = digits()
    del whole.data.holdout
    everything = builders.dataset(builders.build(whole)).examples
    assert builders.held_out(builders.build(whole)) is None
    assert sorted(map(bytes, everything)) == sorted([*map(bytes, training), *map(bytes, held_out)])


def test_the_best_checkpoint_is_kept_and_loaded(run):
    best = read_best(run)
    rows = {row["step"]: row["metrics"]["frechet"] for row in lines(run)}
    assert best == {"step": min(rows, key=rows.get), "metric": "frechet", "value": min(rows.values())}
    assert fdrl_jax.load(run, step="best").step == best["step"]
    assert [path.name for path in (run / "best").iterdir()] == [str(best["step"])]


@pytest.mark.parametrize(
    ("metric", "values", "kept"), [("frechet", (3, 1, 2, 1), 2), ("recall", (0.1, 0.3, 0.3, 0.2), 2)]
)
def test_only_an_improvement_is_kept(metric, values, kept, tmp_path, monkeypatch):
    found = iter(values)
    look = diagnostics.Diagnostics.measure
    monkeypatch.setattr(
        diagnostics.Diagnostics, "measure", lambda self, model: look(self, model) | {"metrics": {metric: next(found)}}
    )
    shrink.trained(digits(num_steps=4, every=1, best=metric), tmp_path)
    assert read_best(tmp_path) == {"step": kept, "metric": metric, "value": values[kept - 1]}
    assert fdrl_jax.load(tmp_path, step="best").step == kept


def test_a_resumed_run_has_the_same_diagnostics_and_best(run, tmp_path):
    shrink.trained(digits(num_steps=2), tmp_path)
    path = tmp_path / "diagnostics.jsonl"
    path.write_text(path.read_text() + '{"step": 3, "metrics": {}}\n{"step": 4, "me')
    shrink.trained(digits(num_steps=4), tmp_path)

    def without_time(rows):
        return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]

    assert without_time(lines(tmp_path)) == without_time(lines(run))
    assert read_best(tmp_path) == read_best(run)


def test_points_are_compared_with_fresh_draws(tmp_path):
    config = shrink.tiny_points()
    config.diagnostics.best = "sliced_wasserstein"
    shrink.trained(config, tmp_path)
    (row,) = lines(tmp_path)
    assert row["reference"] == "fresh draws of gaussian"
    assert set(row["metrics"]) == {"sliced_wasserstein"}
    assert read_best(tmp_path)["value"] == row["metrics"]["sliced_wasserstein"]


def test_diagnostics_do_not_change_training(run, tmp_path):
    config = digits()
    del config.diagnostics
    shrink.trained(config, tmp_path)
    assert not (tmp_path / "diagnostics.jsonl").exists()
    a, b = (fdrl_jax.sample(fdrl_jax.load(workdir), 0, 3, progress=False) for workdir in (run, tmp_path))
    np.testing.assert_array_equal(a, b)
    assert (run / "metrics.jsonl").read_text() == (tmp_path / "metrics.jsonl").read_text()


def test_particles_that_are_not_finite_stop_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(diagnostics, "trajectory", lambda *a, **k: (np.arange(2), np.full((2, 20, 8, 8, 1), np.nan)))
    with pytest.raises(DivergedError, match="samples of step 2 are not finite"):
        shrink.trained(digits(), tmp_path)
    # The loss was finite, but what gives such samples is not kept as a checkpoint.
    with pytest.raises(InputError, match="has no checkpoint yet"):
        fdrl_jax.load(tmp_path)


def test_a_kill_between_a_checkpoint_and_the_look_at_it_loses_no_line(run, tmp_path, monkeypatch):
    def killed(self, model, state):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(BestCheckpoint, "measure", killed)
        with pytest.raises(SystemExit):
            shrink.trained(digits(num_steps=4), tmp_path)
    shrink.trained(digits(num_steps=4), tmp_path)
    assert [row["step"] for row in lines(tmp_path)] == [row["step"] for row in lines(run)]


def test_a_metric_that_is_not_measured_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'sliced_wasserstein' is not measured of images: use one of precision"):
        loop.train(digits(best="sliced_wasserstein"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_a_best_checkpoint_there_is_none_to_load(tmp_path):
    shrink.trained(digits(best=""), tmp_path)
    with pytest.raises(InputError, match=r"keeps no best checkpoint: train with diagnostics.best"):
        fdrl_jax.load(tmp_path, step="best")


def test_a_damaged_record_of_the_best_is_named(run, tmp_path):
    (tmp_path / "best.json").write_text('{"step": 3}')
    with pytest.raises(InputError, match=r"best\.json is damaged"):
        read_best(tmp_path)
