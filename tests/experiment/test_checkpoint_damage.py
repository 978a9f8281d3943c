"""Damaged checkpoints: each is skipped with a line that says why, the one before is used, and nothing is deleted.

Covers: `checkpoint`.
"""

import shutil

import jax
import numpy as np
import pytest
import shrink
from damage import delete, empty, flip, truncate

import fdrl_jax
from fdrl_jax import InputError
from fdrl_jax.experiment import builders, checkpoint
from fdrl_jax.experiment.model import abstract_state


def damages(folder):
    """Return every kind of damage to every file and folder below `folder`, as (function, path)."""
    below = sorted(path for path in folder.rglob("*"))
    cases = [(damage, path) for path in below if path.is_file() for damage in (flip, truncate, delete)]
    cases += [(empty, path) for path in [folder, *below] if path.is_dir()]
    # An empty file cannot be truncated, and an empty folder cannot be emptied.
    return [
        (damage, path)
        for damage, path in cases
        if damage is delete or (any(path.iterdir()) if path.is_dir() else path.stat().st_size)
    ]


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.slow
def test_every_damage_to_a_checkpoint_is_noticed_and_the_one_before_is_used(
    two_checkpoints, experiment, states, tmp_path, capsys
):
    cases = damages(two_checkpoints / "checkpoints" / "4")
    assert len(cases) > 40
    abstract = abstract_state(experiment)
    for i, (damage, path) in enumerate(cases):
        workdir = tmp_path / str(i)
        shutil.copytree(two_checkpoints, workdir)
        damage(workdir / path.relative_to(two_checkpoints))
        case = f"{damage.__name__} {path.relative_to(two_checkpoints)}"
        with checkpoint.Checkpoints(workdir, keep=2) as checkpoints:
            assert checkpoints.newest() == 2, case
            assert "checkpoints/4 is skipped: " in capsys.readouterr().out
            assert_equal(checkpoints.restore(2, abstract), states[2])
            with pytest.raises(InputError, match=r"checkpoints.4 cannot be read: ") as caught:
                checkpoints.restore(4, abstract)
            assert "\n" not in str(caught.value)
            # Orbax alone would skip step 3, because there is a step 4.
            checkpoints.save(3, states[4])
        assert "checkpoints/4 is renamed to 4.damaged" in capsys.readouterr().out
        with checkpoint.Checkpoints(workdir) as checkpoints:
            assert checkpoints.newest() == 3, case
            assert_equal(checkpoints.restore(3, abstract), states[4])
        assert (workdir / "checkpoints" / "4.damaged").is_dir()
        shutil.rmtree(workdir)


def test_all_checkpoints_damaged_is_one_error(run):
    for step in (2, 4):
        flip(run / "checkpoints" / str(step) / "state" / "_METADATA")
    message = r"all checkpoints in .* are damaged \(the newest: 4, state/_METADATA is not as"
    with checkpoint.Checkpoints(run) as checkpoints, pytest.raises(InputError, match=message):
        checkpoints.newest()


def test_a_checkpoint_renamed_to_another_step_is_skipped(run):
    (run / "checkpoints" / "4").rename(run / "checkpoints" / "6")
    with checkpoint.Checkpoints(run) as checkpoints:
        assert checkpoints.newest() == 2


def test_a_checkpoint_of_another_run_is_skipped_with_three_differences(run, save_run, states, tmp_path, capsys):
    config = shrink.tiny_points()
    config.seed, config.data.batch_size, config.flow.step_size, config.ema_decay = 7, 8, 0.5, 0.5
    other = tmp_path / "other"
    other.mkdir()
    save_run(other, builders.build(config), {6: states[4]})
    shutil.copytree(other / "checkpoints" / "6", run / "checkpoints" / "6")
    with checkpoint.Checkpoints(run) as checkpoints:
        assert checkpoints.newest() == 4
    printed = capsys.readouterr().out
    assert "config.data.batch_size is 8 there and 16 here; config.ema_decay is 0.5 there and " in printed
    assert "(and 1 more)" in printed


def test_a_save_that_was_cut_short_is_no_checkpoint(run, states, capsys):
    """The process was killed between Orbax's write and the manifest, and left a temporary folder of Orbax."""
    (run / "checkpoints" / "4" / "manifest.json").unlink()
    temporary = run / "checkpoints" / "6.orbax-checkpoint-tmp"
    temporary.mkdir()
    with checkpoint.Checkpoints(run, keep=2) as checkpoints:
        assert checkpoints.all_steps() == [2]
        assert checkpoints.newest() == 2
        assert "4 is skipped: it has no manifest; its save was cut short" in capsys.readouterr().out
        checkpoints.save(4, states[4])
    assert not temporary.exists()
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["2", "4", "4.damaged"]


def test_an_undamaged_newer_checkpoint_is_not_set_aside(run, states):
    with (
        checkpoint.Checkpoints(run, keep=2) as checkpoints,
        pytest.raises(InputError, match=r"checkpoint 3 was not written: .* has step 4"),
    ):
        checkpoints.save(3, states[2])


def test_training_and_loading_skip_a_damaged_checkpoint(tmp_path, capsys):
    """Training from the one before gives the same parameters and log as a run without damage."""
    uninterrupted, damaged = tmp_path / "uninterrupted", tmp_path / "damaged"
    shrink.trained(shrink.tiny_points(num_steps=6), uninterrupted)
    shrink.trained(shrink.tiny_points(num_steps=4), damaged)
    flip(next((damaged / "checkpoints" / "4" / "state" / "d").iterdir()))
    assert fdrl_jax.load(damaged).step == 2
    with pytest.raises(InputError, match=r"checkpoints.4 cannot be read: state/d/\w+ is not as it was written"):
        fdrl_jax.load(damaged, step=4)
    shrink.trained(shrink.tiny_points(num_steps=6), damaged)
    assert "resume at step 2 of 6" in capsys.readouterr().out
    a, b = (fdrl_jax.load(workdir, ema=False) for workdir in (uninterrupted, damaged))
    assert_equal(a.params, b.params)
    assert (uninterrupted / "metrics.jsonl").read_text() == (damaged / "metrics.jsonl").read_text()


def test_the_best_checkpoint_is_verified_too(tmp_path):
    config = shrink.tiny_points()
    config.diagnostics.best = "sliced_wasserstein"
    shrink.trained(config, tmp_path)
    best = fdrl_jax.load(tmp_path, step="best").step
    flip(tmp_path / "best" / str(best) / "state" / "_METADATA")
    with pytest.raises(InputError, match=rf"best.{best} cannot be read: state/_METADATA is not as it was written"):
        fdrl_jax.load(tmp_path, step="best")


def test_a_best_checkpoint_that_best_json_does_not_name_is_set_aside(tmp_path, capsys):
    """The process was killed between the save to best/ and the write of best.json, and the run is resumed."""
    config = shrink.tiny_points()
    config.diagnostics.best = "sliced_wasserstein"
    shrink.trained(config, tmp_path)
    (tmp_path / "best.json").unlink()
    shutil.rmtree(tmp_path / "checkpoints" / "4")
    shrink.trained(config, tmp_path)
    assert "best/4 is renamed to 4.damaged" in capsys.readouterr().out
    assert fdrl_jax.load(tmp_path, step="best").step == 4


def test_names_that_are_no_steps_are_ignored(run):
    for name in ("08", "x", "9.damaged", "²"):
        (run / "checkpoints" / name).mkdir()
    (run / "checkpoints" / "11").write_text("a file")
    with checkpoint.Checkpoints(run) as checkpoints:
        assert checkpoints.all_steps() == [2, 4]
        assert checkpoints.newest() == 4
