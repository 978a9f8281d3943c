"""Manifests: every damaged byte of a run's files is noticed, and runs from before manifests can still be used.

Covers: `manifest`.
"""

import jax
import numpy as np
import pytest
from damage import delete, flip, truncate

from fdrl_jax import InputError
from fdrl_jax.experiment import checkpoint, manifest
from fdrl_jax.experiment.config_changes import differences, fixed_fields
from fdrl_jax.experiment.model import abstract_state
from fdrl_jax.experiment.workdir_files import read_config, read_data_digest, read_prior, write_setup


@pytest.mark.parametrize("where", ["manifest.json", "checkpoints/4/manifest.json"])
def test_a_newer_format_names_the_version_that_reads_it(where, run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "FORMAT", 3)
        patch.setattr(manifest, "__version__", "9.1")
        manifest.write(run / where, {})
    message = r"manifest\.json is of format 3, and fdrl_jax .* reads formats up to 2: use fdrl_jax 9\.1, which wrote it"
    with pytest.raises(InputError, match=message), checkpoint.Checkpoints(run) as checkpoints:
        checkpoints.newest()


# --- Runs of format 1, without manifests ---


@pytest.fixture
def older(run):
    """A run as it was written before there were manifests."""
    for path in run.rglob("manifest.json"):
        path.unlink()
    return run


def test_a_run_of_format_1_is_used_without_a_check(older, experiment, states, capsys):
    with checkpoint.Checkpoints(older) as checkpoints:
        assert checkpoints.newest() == 4
        restored = checkpoints.restore(4, abstract_state(experiment))
    jax.tree.map(np.testing.assert_array_equal, restored, states[4])
    assert capsys.readouterr().out.count("4 is of format 1, without checksums: it is taken as it is\n") == 1


def test_a_run_of_format_1_is_resumed_in_format_2(older, experiment, states):
    assert "is of format 1" in manifest.complete_run(older, experiment.config)
    assert manifest.complete_run(older, experiment.config) == ""
    with checkpoint.Checkpoints(older, keep=2) as checkpoints:
        assert checkpoints.newest() == 4
        checkpoints.save(6, states[2])
    with checkpoint.Checkpoints(older) as checkpoints:
        assert checkpoints.all_steps() == [4, 6]
    # Once the run has a manifest, a later checkpoint without one is a save that was cut short.
    (older / "checkpoints" / "6" / "manifest.json").unlink()
    with checkpoint.Checkpoints(older) as checkpoints:
        assert checkpoints.newest() == 4


# --- Files of the setup ---


@pytest.mark.parametrize("damage", [flip, truncate, delete])
@pytest.mark.parametrize(("name", "read"), [("prior.npz", read_prior), ("data.json", read_data_digest)])
def test_damage_to_a_file_of_the_setup_is_noticed(name, read, damage, run):
    damage(run / name)
    with pytest.raises(InputError, match=rf"{name} is damaged \({name} is .*\): restore {name}"):
        read(run)


def test_a_changed_byte_of_the_config_is_refused_or_changes_a_field_that_may_change(run):
    path = run / "config.json"
    original = path.read_bytes()
    config = read_config(run)
    for i in range(len(original)):
        path.write_bytes(original[:i] + bytes([original[i] ^ 1]) + original[i + 1 :])
        try:
            changed = read_config(run)
        except InputError:
            continue
        different = differences(fixed_fields(config), fixed_fields(changed))
        # The only accepted changes add unknown fields, which are refused when the experiment is built.
        assert different.count("is 'absent' there") == len(different.split("; ")) * bool(different), different


@pytest.mark.parametrize("damage", [flip, truncate, delete])
def test_a_damaged_manifest_of_the_run_is_restored_from_a_checkpoint(damage, run, experiment):
    path = run / "manifest.json"
    original = path.read_bytes()
    damage(path)
    flip(run / "prior.npz")
    with pytest.raises(InputError, match=r"prior\.npz is damaged"):
        read_prior(run)
    with checkpoint.Checkpoints(run) as checkpoints:
        assert checkpoints.newest() == 4
    assert "is restored from a checkpoint" in manifest.complete_run(run, experiment.config)
    assert path.read_bytes() == original


def test_a_damaged_manifest_of_a_run_without_checkpoints_is_refused(experiment, tmp_path):
    write_setup(tmp_path, experiment.config, {})
    flip(tmp_path / "manifest.json")
    with pytest.raises(InputError, match=r"manifest\.json is damaged: restore it or use a new workdir"):
        read_config(tmp_path)
