"""Checkpoints: saving and restoring, what is removed and when, and refusal of what cannot be restored.

Damaged checkpoints are in `test_checkpoint_damage.py`.
"""

import os
import pathlib

import jax
import numpy as np
import pytest
import shrink

from fdrl_jax import InputError
from fdrl_jax.experiment import builders, checkpoint, manifest
from fdrl_jax.experiment.model import abstract_state, initial_state
from fdrl_jax.experiment.workdir_files import write_setup


@pytest.fixture
def saved(experiment, tmp_path):
    state = initial_state(experiment)
    with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(1, state)
    return tmp_path, state


def restore(workdir, experiment, step=1):
    with checkpoint.Checkpoints(workdir) as checkpoints:
        return checkpoints.restore(step, abstract_state(experiment))


def test_round_trip_is_exact(saved, experiment):
    workdir, state = saved
    restored = restore(workdir, experiment)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    jax.tree.map(lambda a, b: pytest.fail("dtype") if a.dtype != b.dtype else None, restored, state)


def test_a_state_may_be_donated_while_it_is_written(experiment, tmp_path):
    # As in training, the next step overwrites these buffers while the checkpoint is being written.
    state = initial_state(experiment)
    expected = jax.tree.map(np.array, state)
    overwrite = jax.jit(lambda tree: jax.tree.map(lambda x: x * 0 + 7, tree), donate_argnums=0)
    with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(1, state)
        overwrite(state)
    jax.tree.map(np.testing.assert_array_equal, restore(tmp_path, experiment), expected)


def test_only_the_newest_checkpoints_are_kept(experiment, tmp_path):
    state = initial_state(experiment)
    with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, state)
        checkpoints.wait()
        assert checkpoints.newest() == 3
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"2", "3"}


def test_a_save_before_an_existing_step_is_refused(saved, experiment):
    workdir, state = saved
    with checkpoint.Checkpoints(workdir, keep=2) as checkpoints, pytest.raises(InputError, match="not written"):
        checkpoints.save(0, state)


def test_another_network_is_refused(saved):
    config = shrink.tiny_points()
    config.model.width = (8, 9)
    with pytest.raises(InputError, match=r"ema_params\.Dense_1\.bias is 'float32 \(8,\)' there and 'float32 \(9,\)' "):
        restore(saved[0], builders.build(config))


def test_another_dtype_is_refused(saved, experiment):
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, np.float16), abstract_state(experiment))
    with checkpoint.Checkpoints(saved[0]) as checkpoints, pytest.raises(InputError, match="float16"):
        checkpoints.restore(1, abstract)


def test_a_missing_step_is_refused(saved, experiment):
    with pytest.raises(InputError, match=r"checkpoints.5 cannot be read"):
        restore(saved[0], experiment, step=5)


def test_a_damaged_checkpoint_is_refused(saved, experiment):
    workdir, _ = saved
    for path in (workdir / "checkpoints" / "1" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"checkpoints.1 cannot be read"):
        restore(workdir, experiment)


# --- Manifests ---


def test_an_old_checkpoint_is_kept_until_the_new_one_has_its_manifest(experiment, states, tmp_path, monkeypatch):
    write_setup(tmp_path, experiment.config, {})
    write, steps_at_writes = manifest.write, []

    def record_steps_and_write(path, body):
        steps_at_writes.append(checkpoints.all_steps())
        write(path, body)

    with checkpoint.Checkpoints(tmp_path, keep=1) as checkpoints:
        monkeypatch.setattr(manifest, "write", record_steps_and_write)
        for step, state in states.items():
            checkpoints.save(step, state)
    assert steps_at_writes == [[], [2]]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["4"]


def test_an_error_in_writing_a_manifest_is_raised_by_the_next_call(states, tmp_path, monkeypatch):
    def fail(path, body):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(manifest, "write", fail)
    message = r"checkpoints.2 cannot be written \(No space left on device\); there is none before"
    with pytest.raises(InputError, match=message), checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(2, states[2])
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.newest() is None or checkpoints.all_steps() == [2]


def test_a_manifest_is_written_after_the_files_that_it_names_are_on_the_disk(states, tmp_path, monkeypatch):
    """A loss of power may lose files that were not forced to the disk, and must not leave a manifest without them."""
    forced, missing, fsync, replace = set(), [], os.fsync, os.replace

    def recording_fsync(descriptor):
        forced.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def recording_replace(source, target):
        if pathlib.Path(target).name == manifest.MANIFEST_FILE:
            step = pathlib.Path(target).parent
            missing.append({str(path) for path in (*step.rglob("*"), step, step.parent)} - forced)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "replace", recording_replace)
    with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(2, states[2])
    assert missing == [set()]
    forced.clear()
    manifest.write(tmp_path / "other.json", {})
    assert str(tmp_path) in forced
