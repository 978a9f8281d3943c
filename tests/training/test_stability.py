"""Numbers that go bad: found and named, and runs that go back from them."""

import contextlib
import json
import math
import shutil

import jax
import numpy as np
import pytest
import shrink

import fdrl_jax
from configs import cifar10, digits, gaussians, swissroll
from fdrl_jax import data
from fdrl_jax.experiment import builders, checkpoint
from fdrl_jax.experiment.model import abstract_state
from fdrl_jax.experiment.workdir_files import read_best, read_config
from fdrl_jax.training import diagnostics, stability
from fdrl_jax.training.loop import train
from fdrl_jax.types import DivergedError, InputError, StoppedError

GOOD = {"loss": -0.5, "grad_norm": 0.1, "max_flow": 2.0}
LINES = [-0.4, -0.6, -0.5, -0.5, -0.5]


def found(row, lines=LINES, **config):
    """What is said of step 7, where `row` is, after a good step 6."""
    with pytest.raises(DivergedError) as caught:
        stability.DivergenceMonitor(config, lines).check([GOOD, GOOD | row], 6)
    assert caught.value.step == 7
    return str(caught.value)


def passes(row, lines=LINES, **config):
    stability.DivergenceMonitor(config, lines).check([GOOD, GOOD | row], 6)


# --- one step ---


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_found_whatever_is_switched_off(bad):
    off = {"sample_range": 0, "spike": 0}
    assert found({"loss": bad}, **off) == f"training diverged: loss {bad:g}, gradient norm 0.1 in step 7"
    assert f"gradient norm {bad:g} in step 7" in found({"grad_norm": bad}, **off)
    assert found({"max_flow": bad}, **off) == "training diverged: samples that are not finite in step 7"


def test_samples_may_be_in_a_range():
    passes({"max_flow": 10.0}, sample_range=10)
    message = found({"max_flow": 10.5}, sample_range=10)
    assert message.endswith("a sample with |x| = 10.5 in step 7, beyond config.train.sample_range = 10")
    passes({"max_flow": 1e9}, sample_range=0)
    assert "sample_range = 1000" in found({"max_flow": 1001.0})


def test_a_loss_may_not_be_far_from_the_lines_before():
    # Median -0.5; the largest of them is 0.6.
    for loss in (-0.5 - 59, -0.5 + 59):
        passes({"loss": loss}, spike=100)
    for loss in (-0.5 - 61, -0.5 + 61):
        expected = f"loss {loss:g} in step 7, after -0.5 (config.train.spike = 100)"
        assert found({"loss": loss}, spike=100).endswith(expected)
    passes({"loss": 1e9}, spike=0)
    passes({"loss": 1e9}, lines=LINES[:4], spike=100)
    found({"loss": 1e9})


def test_steps_of_before_are_not_looked_at_again():
    """They were good by the bounds of then; a smaller bound would go back to them forever."""
    stability.DivergenceMonitor({"sample_range": 1}, LINES, 8).check([GOOD, GOOD], 6)
    with pytest.raises(DivergedError, match="in step 8"):
        stability.DivergenceMonitor({"sample_range": 1}, LINES, 8).check([GOOD, GOOD, GOOD], 6)


def test_the_level_moves_with_the_lines():
    watch = stability.DivergenceMonitor({"spike": 10}, LINES)
    for _ in range(10):
        watch.logged(-100.0)
    watch.check([GOOD | {"loss": -900.0}], 0)
    for _ in range(20):
        watch.logged(-0.5)
    with pytest.raises(DivergedError):
        watch.check([GOOD | {"loss": -100.0}], 0)


def test_a_checkpoint_without_the_newest_metric_is_taken():
    row = {name: value for name, value in GOOD.items() if name != "max_flow"}
    stability.DivergenceMonitor({}, []).check([row], 0)


@pytest.mark.parametrize("module", [digits, gaussians, cifar10, swissroll])
def test_shipped_configs_have_the_defaults(module):
    config = module.get_config().train
    assert {name: config[name] for name in stability.DEFAULTS} == stability.DEFAULTS == stability.settings({})


# --- the record ---


BACKS = stability.Rollbacks((stability.Rollback(9, "why", 4, 0.5), stability.Rollback(7, "again", 6, 0.1)))


def test_a_run_without_rollbacks_is_as_it_was():
    none, root = stability.Rollbacks(), jax.random.key(3)
    assert (none.rate, none.seed(3)) == (1, 3)
    assert none.root(root) is root
    assert not none.dropped(10, 0)


def test_each_rollback_brings_other_numbers():
    root = jax.random.key(3)
    seeds = {stability.Rollbacks(BACKS[:count]).seed(3) for count in range(3)}
    roots = {tuple(jax.random.key_data(stability.Rollbacks(BACKS[:count]).root(root)).tolist()) for count in range(3)}
    assert len(seeds) == len(roots) == 3
    assert BACKS.rate == pytest.approx(0.05)


def test_steps_are_dropped_that_a_later_rollback_went_behind():
    assert BACKS.dropped(5, 0)
    assert not BACKS.dropped(4, 0)
    assert not BACKS.dropped(5, 1)
    assert BACKS.dropped(7, 1)
    assert not BACKS.dropped(99, 2)


def test_the_record_is_whole_or_an_error(tmp_path):
    assert stability.read(tmp_path) == stability.Rollbacks()
    stability.write(tmp_path, BACKS)
    assert stability.read(tmp_path) == BACKS
    path = tmp_path / "rollbacks.json"
    path.write_text(path.read_text().replace("again", "Again"))
    with pytest.raises(InputError, match=r"rollbacks\.json is damaged: restore it"):
        stability.read(tmp_path)


# --- runs ---


@contextlib.contextmanager
def poisoned(at, factor=np.nan, seeds=lambda seed: True):
    """The toy's data times `factor` in steps `at`, under some seeds."""
    original = data.points.PointDataset.batch

    def batch(self, seed, step, *share):
        return original(self, seed, step, *share) * np.float32(factor if step in at and seeds(seed) else 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data.points.PointDataset, "batch", batch)
        yield


def first_seed(seed):
    return seed == 0


def config_of(num_steps=12, **fields):
    config = shrink.tiny_points(num_steps=num_steps)
    config.loss, config.divergence = "lsif", "chi2"
    config.train.update(log_every=3, checkpoint_every=4, sample_every=100)
    del config.diagnostics
    with config.unlocked():
        config.train.update(fields)
    return config


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def outcome(workdir):
    config = read_config(workdir)
    with checkpoint.Checkpoints(workdir) as checkpoints:
        state = checkpoints.restore(checkpoints.newest(), abstract_state(builders.build(config)))
    files = [workdir / name for name in ("metrics.jsonl", "rollbacks.json", "best.json") if (workdir / name).exists()]
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)], [path.read_bytes() for path in files]


def stopping_after(count):
    """Stop after so many more steps, those that are rolled back among them."""
    left = iter(range(count - 1, -1, -1))
    return lambda: 0 if next(left, 1) else 15


def test_a_rollback_goes_on_with_other_data_and_a_smaller_rate(tmp_path, capsys):
    with poisoned({6}, seeds=first_seed):
        model = shrink.trained(config_of(on_divergence="rollback"), tmp_path / "run")
    rate = config_of().optimizer.learning_rate
    said = capsys.readouterr().out
    assert "loss nan, gradient norm nan in step 6: back to step 4, the learning rate times 0.5\n" in said
    assert "resume at step 4 of 12" in said
    assert [line["step"] for line in lines(tmp_path / "run")] == [3, 4, 6, 8, 9, 12]
    assert [line["learning_rate"] for line in lines(tmp_path / "run")] == pytest.approx([rate] * 2 + [rate / 2] * 4)
    (back,) = stability.read(tmp_path / "run")
    assert (back.step, back.to, back.rate) == (6, 4, 0.5)
    assert model.step == 12
    # Not the steps of a run that never met it, but the same ones up to there.
    shrink.trained(config_of(), tmp_path / "other")
    assert lines(tmp_path / "run")[:2] == lines(tmp_path / "other")[:2]
    assert lines(tmp_path / "run")[2]["ratio_data"] != lines(tmp_path / "other")[2]["ratio_data"]


@pytest.mark.parametrize("stops", [(4, 7), (4, 5), (3, 6)])
def test_a_run_that_is_stopped_around_a_rollback_ends_as_one_that_is_not(stops, tmp_path):
    config = config_of(on_divergence="rollback")
    with poisoned({6}, seeds=first_seed):
        shrink.trained(config, tmp_path / "whole")
        for count in stops:
            with pytest.raises(StoppedError):
                train(config, tmp_path / "cut", progress=False, stop=stopping_after(count))
        shrink.trained(config, tmp_path / "cut")
    assert len(stability.read(tmp_path / "cut")) == 1
    assert outcome(tmp_path / "whole") == outcome(tmp_path / "cut")


@pytest.mark.slow
def test_a_kill_around_a_rollback_changes_nothing(tmp_path, monkeypatch):
    """Before the record is written, right after, and when the log is cut for what comes."""
    config = config_of(on_divergence="rollback")
    with poisoned({6}, seeds=first_seed):
        shrink.trained(config, tmp_path / "whole")
        write, restore = stability.write, checkpoint.Checkpoints.restore

        def killed(*_):
            raise SystemExit

        def write_and_die(*arguments):
            write(*arguments)
            raise SystemExit

        for name, (owner, method, act) in {
            "before": (stability, "write", killed),
            "after": (stability, "write", write_and_die),
            "restoring": (checkpoint.Checkpoints, "restore", killed),
        }.items():
            with monkeypatch.context() as patch:
                patch.setattr(owner, method, act)
                with pytest.raises(SystemExit):
                    shrink.trained(config, tmp_path / name)
            assert len(stability.read(tmp_path / name)) == (name != "before")
            shrink.trained(config, tmp_path / name)
            assert outcome(tmp_path / "whole") == outcome(tmp_path / name), name
        assert restore is checkpoint.Checkpoints.restore


def test_rollbacks_are_counted_and_limited(tmp_path, capsys):
    config = config_of(on_divergence="rollback", max_rollbacks=2, rollback_rate=0.1)
    with poisoned({6}):
        message = r"in step 6; the last good checkpoint is step 4; it was rolled back 2 times\. Try a smaller"
        with pytest.raises(DivergedError, match=message) as caught:
            shrink.trained(config, tmp_path)
        assert "\n" not in str(caught.value)
        assert "the learning rate times 0.01\n" in capsys.readouterr().out
        assert len(stability.read(tmp_path)) == 2
        # The same command says the same; a larger limit goes on.
        with pytest.raises(DivergedError, match=message):
            shrink.trained(config, tmp_path)
    assert fdrl_jax.load(tmp_path).step == 4
    config.train.max_rollbacks = 3
    with poisoned({6}, seeds=lambda seed: seed in {stability.Rollbacks(BACKS[:count]).seed(0) for count in range(3)}):
        shrink.trained(config, tmp_path)
    assert len(stability.read(tmp_path)) == 3


def test_a_run_that_begins_anew_has_none_of_the_one_before(tmp_path, capsys):
    with poisoned({6}, seeds=first_seed):
        shrink.trained(config_of(on_divergence="rollback"), tmp_path)
    for name in ("config.json", "manifest.json"):
        (tmp_path / name).unlink()
    shutil.rmtree(tmp_path / "checkpoints")
    shrink.trained(config_of(), tmp_path)
    assert stability.read(tmp_path) == ()
    shrink.trained(config_of(), tmp_path / "whole")
    assert outcome(tmp_path)[0] == outcome(tmp_path / "whole")[0]


def test_a_run_without_a_checkpoint_begins_again(tmp_path):
    with poisoned({2}, seeds=first_seed):
        shrink.trained(config_of(on_divergence="rollback"), tmp_path)
    assert stability.read(tmp_path)[0].to == 0
    assert [line["step"] for line in lines(tmp_path)] == [3, 4, 6, 8, 9, 12]


def test_stopping_is_the_default(tmp_path):
    with poisoned({6}), pytest.raises(DivergedError, match=r"in step 6; the last good checkpoint is step 4\. Try"):
        shrink.trained(config_of(), tmp_path)
    assert not (tmp_path / "rollbacks.json").exists()
    assert fdrl_jax.load(tmp_path).step == 4


def test_samples_out_of_range_stop_a_run_whose_loss_is_finite(tmp_path):
    config = config_of(sample_range=20.0)
    config.flow.step_size = 1e4
    with pytest.raises(DivergedError, match=r"a sample with \|x\| = .* in step 0, beyond config\.train\.sample_range"):
        shrink.trained(config, tmp_path / "run")
    config.train.update(sample_range=0.0, spike=0.0)
    config.flow.step_size, config.train.num_steps = 1.0, 2
    shrink.trained(config, tmp_path / "free")
    assert all(math.isfinite(line["max_flow"]) and line["max_flow"] > 0 for line in lines(tmp_path / "free"))


def test_a_spike_is_found_and_a_stop_does_not_change_its_level(tmp_path):
    config = config_of(num_steps=24, spike=50.0)
    with poisoned({17}, factor=300):
        with pytest.raises(DivergedError, match=r"loss \S+ in step 17, after \S+ \(config.train.spike = 50\)") as whole:
            shrink.trained(config, tmp_path / "whole")
        with pytest.raises(StoppedError):
            train(config, tmp_path / "cut", progress=False, stop=stopping_after(17))
        with pytest.raises(DivergedError) as cut:
            shrink.trained(config, tmp_path / "cut")
    assert str(whole.value).split(";")[0] == str(cut.value).split(";")[0]
    config.train.spike = 0.0
    with poisoned({17}, factor=300):
        shrink.trained(config, tmp_path / "off")


def test_a_look_that_finds_bad_samples_is_rolled_back_too_and_so_is_the_best(tmp_path, monkeypatch):
    config = config_of(num_steps=8, on_divergence="rollback")
    config.diagnostics = gaussians.get_config().diagnostics.copy_and_resolve_references()
    config.diagnostics.update(every=2, num_samples=16, best="sliced_wasserstein")
    # Each look is better than the one before, and the first one after step 8 is bad.
    values, trajectory, bad = iter(range(100, 0, -1)), diagnostics.trajectory, []
    monkeypatch.setattr(
        diagnostics.Diagnostics, "_metrics", lambda self, x: {"sliced_wasserstein": float(next(values))}
    )

    def sometimes(model, *arguments, **named):
        steps, states = trajectory(model, *arguments, **named)
        if model.step == 8 and not bad:
            bad.append(model.step)
            return steps, states * np.nan
        return steps, states

    monkeypatch.setattr(diagnostics, "trajectory", sometimes)
    shrink.trained(config, tmp_path)
    (back,) = stability.read(tmp_path)
    assert (back.step, back.to) == (8, 4)
    # 6 was the best, and is not of the run any more.
    assert read_best(tmp_path) == {
        "step": 8, "metric": "sliced_wasserstein", "value": 96.0, "rollbacks": 1
    }  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == ["6.damaged", "8"]
    looks = [json.loads(line)["step"] for line in (tmp_path / "diagnostics.jsonl").read_text().splitlines()]
    assert looks == [2, 4, 6, 8]
    assert fdrl_jax.load(tmp_path, step="best").step == 8
