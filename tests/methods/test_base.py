"""The interface of a method, with a one-step generator in FDRL's place: no part around it knows a ratio or a flow.

Covers: `prior_draws`, `ratio_flow`.
"""

import dataclasses
import json

import jax
import numpy as np
import pytest
import shrink
from toy_generator import ToyGenerator

import fdrl_jax
from fdrl_jax import InputError, cli
from fdrl_jax.evaluation.report import write_report
from fdrl_jax.experiment import builders, checkpoint
from fdrl_jax.experiment.model import abstract_state
from fdrl_jax.training.plan import plan

STEPS = 6


@pytest.fixture(scope="module")
def generator_method():
    build = builders.build
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builders, "build", lambda config: dataclasses.replace(build(config), method=ToyGenerator()))
        yield


@pytest.fixture(scope="module")
def run(generator_method, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("generator")
    shrink.trained(shrink.tiny_points(num_steps=STEPS), workdir)
    return workdir


def test_the_loop_trains_and_logs_the_metrics_that_the_method_names(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1].keys() == {"step", "loss", "grad_norm", "pool_spread", "learning_rate"}
    assert lines[-1]["loss"] < 0.2 * lines[0]["loss"]


def test_several_steps_of_a_line_are_reduced_as_the_method_says(generator_method, run, tmp_path):
    config = shrink.tiny_points(num_steps=STEPS)
    config.train.update(log_every=STEPS, checkpoint_every=STEPS)
    shrink.trained(config, tmp_path)
    every = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (line,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert line["loss"] == pytest.approx(np.mean([x["loss"] for x in every]))
    assert line["grad_norm"] == max(x["grad_norm"] for x in every)


def test_a_resumed_run_ends_with_the_same_state_pool_and_all(generator_method, run, tmp_path):
    shrink.trained(shrink.tiny_points(num_steps=2), tmp_path)
    shrink.trained(shrink.tiny_points(num_steps=STEPS), tmp_path)
    states = []
    for workdir in (run, tmp_path):
        with checkpoint.Checkpoints(workdir) as checkpoints:
            states.append(checkpoints.restore(STEPS, abstract_state(fdrl_jax.load(workdir).experiment)))
    assert np.abs(states[0].pool).min() > 0
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_a_sample_is_one_pass_and_does_not_depend_on_the_batch(run):
    model = fdrl_jax.load(run)
    samples = fdrl_jax.sample(model, 0, 9, progress=False)
    assert samples.shape == (9, 2)
    np.testing.assert_allclose(fdrl_jax.sample(model, 0, 5, batch_size=2, progress=False), samples[:5], rtol=1e-6)
    steps, states = fdrl_jax.trajectory(model, jax.random.key(0), 9, 1, progress=False)
    assert steps.tolist() == [0]
    np.testing.assert_allclose(states[0], samples, rtol=1e-6)


def test_where_a_ratio_is_asked_for_the_line_says_that_there_is_none(run):
    model = fdrl_jax.load(run)
    with pytest.raises(InputError, match="trains none"):
        model.ratio_fn(np.zeros((1, 2), np.float32))
    with pytest.raises(InputError, match="trains none"):
        fdrl_jax.sample(model, 0, 2, progress=False, label=0, classifier=lambda x: x)


def test_diagnostics_have_metrics_and_neither_flow_nor_histogram(generator_method, tmp_path):
    config = shrink.tiny_points(num_steps=2)
    config.diagnostics = dict(every=2, num_samples=16, best="sliced_wasserstein")
    shrink.trained(config, tmp_path)
    (row,) = [json.loads(line) for line in (tmp_path / "diagnostics.jsonl").read_text().splitlines()]
    assert row.keys() == {"step", "reference", "metrics", "seconds"}
    assert fdrl_jax.load(tmp_path, step="best").step == 2
    assert "sliced" in write_report(tmp_path, tmp_path / "report.html").read_text().lower()


def test_the_plan_has_the_costs_that_the_method_counts(generator_method):
    lines = plan(shrink.tiny_points()).lines(1e9, "given")
    assert lines[1] == "parameters      4"


def test_an_exported_model_gives_the_same_samples(run, tmp_path):
    assert (
        cli.run(["main.py", "--mode=export", f"--workdir={run}", f"--out={tmp_path / 'model'}", "--num_samples=4"]) == 0
    )
    samples = fdrl_jax.sample(fdrl_jax.load(run), 0, 6, progress=False)
    np.testing.assert_array_equal(fdrl_jax.sample(fdrl_jax.load(tmp_path / "model"), 0, 6, progress=False), samples)
