"""The lock of a workdir, which only one process can have, and the files of the setup."""

import fcntl
import os
import subprocess
import sys

import numpy as np
import pytest
import shrink
from paths import ROOT

import fdrl_jax
from fdrl_jax import InputError
from fdrl_jax.experiment import builders, checkpoint, workdir_files
from fdrl_jax.experiment.workdir_files import read_arrays, read_best, read_config, read_prior, write_best, write_setup
from fdrl_jax.training.loop import train

# --- The lock ---


def config():
    return shrink.tiny_points(num_steps=8)


def test_two_processes_on_one_workdir(tmp_path):
    """The error names the process that has the lock; a killed process releases its lock."""
    code = (
        "import pathlib, sys, time\nfrom fdrl_jax.experiment import workdir_files\n"
        "with workdir_files.locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with holder:
        try:
            assert holder.stdout.readline() == "held\n"
            before = sorted(tmp_path.iterdir())
            message = rf"is in use by process {holder.pid} on \S+: wait for it, stop it, or use a new workdir"
            with pytest.raises(InputError, match=message):
                train(config(), tmp_path, progress=False)
            assert sorted(tmp_path.iterdir()) == before
        finally:
            holder.kill()
    assert (tmp_path / "lock").exists()
    with workdir_files.locked(tmp_path):
        assert f"process {os.getpid()} on " in (tmp_path / "lock").read_text()
    assert not (tmp_path / "lock").exists()


def test_a_lock_file_that_is_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    """A lock protects nothing if the previous holder removes the file between its opening and its locking here."""
    flock, calls = fcntl.flock, []

    def remove_and_lock(file, how):
        if not calls:
            (tmp_path / "lock").unlink()
        calls.append(how)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", remove_and_lock)
    with workdir_files.locked(tmp_path):
        assert len(calls) == 2
        with pytest.raises(InputError, match="in use"), workdir_files.locked(tmp_path):
            pass


def test_a_loaded_run_needs_no_lock(tmp_path):
    train(config(), tmp_path, progress=False)
    with workdir_files.locked(tmp_path):
        assert fdrl_jax.load(tmp_path).step == 8


def test_the_error_of_another_config_says_that_a_workdir_without_checkpoints_may_be_removed(tmp_path, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "Checkpoints", lambda *_, **__: interrupt())
    with pytest.raises(KeyboardInterrupt):
        train(config(), tmp_path, progress=False)
    other = config()
    other.seed = 3
    with pytest.raises(
        InputError, match=r"config\.seed is 0 there and 3 here.*; or remove it, as it has no checkpoint"
    ):
        train(other, tmp_path, progress=False)


# --- Files ---


def test_the_files_of_the_setup_are_read_as_they_were_written(tmp_path):
    config = builders.normalise(shrink.tiny_digits())
    arrays = {"mean": np.arange(3, dtype=np.float32)}
    write_setup(tmp_path, config, arrays)
    assert builders.normalise(read_config(tmp_path)) == config
    np.testing.assert_array_equal(read_prior(tmp_path)["mean"], arrays["mean"])


def test_an_empty_workdir_has_no_setup(tmp_path):
    assert read_config(tmp_path) is None
    assert read_prior(tmp_path) == {}


def test_damaged_setup_files_are_named(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": ')
    (tmp_path / "prior.npz").write_bytes(b"not a zip file")
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        read_config(tmp_path)
    with pytest.raises(InputError, match=r"prior\.npz is damaged"):
        read_prior(tmp_path)


def test_checkpoints_without_a_config_are_refused(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match=r"no config\.json"):
        read_config(tmp_path)


def test_the_record_of_the_best_checkpoint_is_read_as_it_was_written(tmp_path):
    assert read_best(tmp_path) is None
    best = {"step": 4, "metric": "frechet", "value": 0.25, "rollbacks": 1}
    write_best(tmp_path, best)
    assert read_best(tmp_path) == best
    workdir_files.remove_best(tmp_path)
    assert read_best(tmp_path) is None
    (tmp_path / "best.json").write_text('{"step": 4}')
    with pytest.raises(InputError, match=r"best\.json is damaged .*: delete it and best/, or restore them"):
        read_best(tmp_path)


def test_a_missing_file_of_arrays_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no\.npz does not exist: check the path"):
        read_arrays(tmp_path / "no.npz")
