"""Damage to what a run keeps: the older step's weights or one clear line, and never a save that is not made."""

import os
import pathlib
import shutil

import jax
import numpy as np
import pytest
import shrink

import fdrl_jax
from fdrl_jax import InputError, builders, checkpoint, manifest, sampling


@pytest.fixture(scope="module")
def experiment():
    return builders.build(shrink.tiny_points())


@pytest.fixture(scope="module")
def states(experiment):
    first = sampling.initial_state(experiment)
    return {2: first, 4: jax.tree.map(lambda x: x + 1, first)}


@pytest.fixture(scope="module")
def kept(experiment, states, tmp_path_factory):
    """A workdir with two steps."""
    workdir = tmp_path_factory.mktemp("kept")
    save(workdir, experiment, states)
    return workdir


def save(workdir, experiment, states, folder=checkpoint.CHECKPOINTS):
    checkpoint.write_setup(workdir, experiment.config, {"mean": np.arange(3, dtype=np.float32)}, "abc")
    with checkpoint.Checkpoints(workdir, keep=2, folder=folder) as checkpoints:
        for step, state in states.items():
            checkpoints.save(step, state)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1 << len(content) % 8
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def delete(path):
    path.unlink()


def empty(path):
    shutil.rmtree(path)
    path.mkdir()


def places(folder):
    """Every kind of damage to every file and folder of a step, as (damage, path in it)."""
    below = sorted(path for path in folder.rglob("*"))
    found = [(damage, path) for path in below if path.is_file() for damage in (flip, truncate, delete)]
    found += [(empty, path) for path in [folder, *below] if path.is_dir()]
    # An empty file or folder cannot be cut or emptied.
    return [
        (damage, path)
        for damage, path in found
        if damage is delete or (any(path.iterdir()) if path.is_dir() else path.stat().st_size)
    ]


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_every_damage_to_a_step_is_found_and_the_one_before_is_used(kept, experiment, states, tmp_path, capsys):
    cases = places(kept / "checkpoints" / "4")
    assert len(cases) > 40
    abstract = sampling.abstract_state(experiment)
    for i, (damage, path) in enumerate(cases):
        workdir = tmp_path / str(i)
        shutil.copytree(kept, workdir)
        damaged = workdir / path.relative_to(kept)
        damage(damaged)
        case = f"{damage.__name__} {path.relative_to(kept)}"
        with checkpoint.Checkpoints(workdir, keep=2) as checkpoints:
            assert checkpoints.newest() == 2, case
            assert "checkpoints/4 is skipped: " in capsys.readouterr().out
            assert_equal(checkpoints.restore(2, abstract), states[2])
            with pytest.raises(InputError, match=r"checkpoints.4 cannot be read: ") as caught:
                checkpoints.restore(4, abstract)
            assert "\n" not in str(caught.value)
            # Orbax would not save 3, as there is a 4.
            checkpoints.save(3, states[4])
        assert "checkpoints/4 is renamed to 4.damaged" in capsys.readouterr().out
        with checkpoint.Checkpoints(workdir) as checkpoints:
            assert checkpoints.newest() == 3, case
            assert_equal(checkpoints.restore(3, abstract), states[4])
        assert (workdir / "checkpoints" / "4.damaged").is_dir()
        shutil.rmtree(workdir)


def test_where_no_step_is_whole_one_line_says_so(kept, tmp_path, capsys):
    workdir = shutil.copytree(kept, tmp_path / "run")
    for step in (2, 4):
        flip(workdir / "checkpoints" / str(step) / "state" / "_METADATA")
    with (
        checkpoint.Checkpoints(workdir) as checkpoints,
        pytest.raises(
            InputError, match=r"all checkpoints in .* are damaged \(the newest: 4, state/_METADATA is not as"
        ),
    ):
        checkpoints.newest()


def test_a_step_in_the_place_of_another_is_refused(kept, tmp_path):
    workdir = shutil.copytree(kept, tmp_path / "run")
    (workdir / "checkpoints" / "4").rename(workdir / "checkpoints" / "6")
    with checkpoint.Checkpoints(workdir) as checkpoints:
        assert checkpoints.newest() == 2


def test_a_step_of_another_run_is_refused_with_the_first_three_differences(kept, states, tmp_path, capsys):
    config = shrink.tiny_points()
    config.seed, config.data.batch_size, config.flow.step_size, config.ema_decay = 7, 8, 0.5, 0.5
    other, workdir = tmp_path / "other", shutil.copytree(kept, tmp_path / "run")
    other.mkdir()
    save(other, builders.build(config), {6: states[4]})
    shutil.copytree(other / "checkpoints" / "6", workdir / "checkpoints" / "6")
    with checkpoint.Checkpoints(workdir) as checkpoints:
        assert checkpoints.newest() == 4
    printed = capsys.readouterr().out
    assert "config.data.batch_size is 8 there and 16 here; config.ema_decay is 0.5 there and " in printed
    assert "(and 1 more)" in printed


@pytest.mark.parametrize("where", ["manifest.json", "checkpoints/4/manifest.json"])
def test_a_newer_format_names_the_version_that_reads_it(where, kept, tmp_path, monkeypatch):
    workdir = shutil.copytree(kept, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "FORMAT", 3)
        patch.setattr(manifest, "__version__", "9.1")
        manifest.write(workdir / where, {})
    message = r"manifest\.json is of format 3, and fdrl_jax .* reads formats up to 2: use fdrl_jax 9\.1, which wrote it"
    with pytest.raises(InputError, match=message), checkpoint.Checkpoints(workdir) as checkpoints:
        checkpoints.newest()


def test_a_save_cut_short_is_no_checkpoint(kept, states, tmp_path, capsys):
    """Killed after orbax finished and before the manifest was written; and a folder of orbax's that was left."""
    workdir = shutil.copytree(kept, tmp_path / "run")
    (workdir / "checkpoints" / "4" / "manifest.json").unlink()
    left = workdir / "checkpoints" / "6.orbax-checkpoint-tmp"
    left.mkdir()
    with checkpoint.Checkpoints(workdir, keep=2) as checkpoints:
        assert checkpoints.all_steps() == [2]
        assert checkpoints.newest() == 2
        assert "4 is skipped: it has no manifest; its save was cut short" in capsys.readouterr().out
        checkpoints.save(4, states[4])
    assert not left.exists()
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["2", "4", "4.damaged"]


def test_the_one_before_stays_until_the_new_one_has_its_manifest(experiment, states, tmp_path, monkeypatch):
    checkpoint.write_setup(tmp_path, experiment.config, {})
    write, seen = manifest.write, []

    def look_and_write(path, body):
        seen.append(checkpoints.all_steps())
        write(path, body)

    with checkpoint.Checkpoints(tmp_path, keep=1) as checkpoints:
        monkeypatch.setattr(manifest, "write", look_and_write)
        for step, state in states.items():
            checkpoints.save(step, state)
    assert seen == [[], [2]]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["4"]


def test_a_good_newer_step_is_not_moved(kept, states, tmp_path):
    workdir = shutil.copytree(kept, tmp_path / "run")
    with (
        checkpoint.Checkpoints(workdir, keep=2) as checkpoints,
        pytest.raises(InputError, match=r"checkpoint 3 was not written: .* has step 4"),
    ):
        checkpoints.save(3, states[2])


def test_a_failed_manifest_is_an_error_of_the_next_call(states, tmp_path, monkeypatch):
    def fail(path, body):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(manifest, "write", fail)
    message = r"checkpoints.2 cannot be written \(No space left on device\); there is none before"
    with pytest.raises(InputError, match=message), checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(2, states[2])
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.newest() is None or checkpoints.all_steps() == [2]


def test_a_manifest_comes_when_all_that_it_names_is_forced_to_disk(states, tmp_path, monkeypatch):
    """After a loss of power a step that counts is whole: what was not forced to disk may be gone then."""
    forced, missing, fsync, replace = set(), [], os.fsync, os.replace

    def noted_fsync(descriptor):
        forced.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def noted_replace(source, target):
        if pathlib.Path(target).name == manifest.MANIFEST_FILE:
            step = pathlib.Path(target).parent
            missing.append({str(path) for path in (*step.rglob("*"), step, step.parent)} - forced)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(2, states[2])
    assert missing == [set()]
    forced.clear()
    manifest.write(tmp_path / "other.json", {})
    assert str(tmp_path) in forced


# --- runs without manifests ---


@pytest.fixture
def older(kept, tmp_path):
    """A run as it was written before there were manifests."""
    workdir = shutil.copytree(kept, tmp_path / "older")
    for path in workdir.rglob("manifest.json"):
        path.unlink()
    return workdir


def test_a_run_of_format_1_is_taken_as_it_is(older, experiment, states, capsys):
    with checkpoint.Checkpoints(older) as checkpoints:
        assert checkpoints.newest() == 4
        assert_equal(checkpoints.restore(4, sampling.abstract_state(experiment)), states[4])
    assert capsys.readouterr().out.count("4 is of format 1, without checksums: it is taken as it is\n") == 1


def test_a_run_of_format_1_goes_on_in_format_2(older, experiment, states, capsys):
    assert "is of format 1" in manifest.complete_run(older, experiment.config)
    assert manifest.complete_run(older, experiment.config) == ""
    with checkpoint.Checkpoints(older, keep=2) as checkpoints:
        assert checkpoints.newest() == 4
        checkpoints.save(6, states[2])
    with checkpoint.Checkpoints(older) as checkpoints:
        assert checkpoints.all_steps() == [4, 6]
    # From here on a step without a manifest is a save cut short.
    (older / "checkpoints" / "6" / "manifest.json").unlink()
    with checkpoint.Checkpoints(older) as checkpoints:
        assert checkpoints.newest() == 4


# --- what is not a step ---


def test_damage_to_the_setup_is_found(kept, experiment, tmp_path):
    for i, (name, damage) in enumerate((n, d) for n in ("prior.npz", "data.json") for d in (flip, truncate, delete)):
        workdir = shutil.copytree(kept, tmp_path / str(i))
        damage(workdir / name)
        read = checkpoint.read_prior if name == "prior.npz" else checkpoint.read_data_digest
        with pytest.raises(InputError, match=rf"{name} is damaged \({name} is .*\): restore {name}"):
            read(workdir)


def test_every_bit_of_the_config_matters_or_may_change(kept, tmp_path):
    workdir = shutil.copytree(kept, tmp_path / "run")
    path = workdir / "config.json"
    whole = path.read_bytes()
    config = checkpoint.read_config(workdir)
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        try:
            found = checkpoint.read_config(workdir)
        except InputError:
            continue
        different = manifest.differences(manifest.fingerprint(config), manifest.fingerprint(found))
        # Only names beyond those that the run keeps: building the config refuses them.
        assert different.count("is 'absent' there") == len(different.split("; ")) * bool(different), different


def test_a_damaged_manifest_of_the_run_is_found_again_in_a_step(kept, experiment, tmp_path):
    for i, damage in enumerate((flip, truncate, delete)):
        workdir = shutil.copytree(kept, tmp_path / str(i))
        path = workdir / "manifest.json"
        whole = path.read_bytes()
        damage(path)
        flip(workdir / "prior.npz")
        with pytest.raises(InputError, match=r"prior\.npz is damaged"):
            checkpoint.read_prior(workdir)
        with checkpoint.Checkpoints(workdir) as checkpoints:
            assert checkpoints.newest() == 4
        assert "is restored from a checkpoint" in manifest.complete_run(workdir, experiment.config)
        assert path.read_bytes() == whole


def test_a_damaged_manifest_of_a_run_without_steps_is_named(experiment, tmp_path):
    checkpoint.write_setup(tmp_path, experiment.config, {})
    flip(tmp_path / "manifest.json")
    with pytest.raises(InputError, match=r"manifest\.json is damaged: restore it or use a new workdir"):
        checkpoint.read_config(tmp_path)


# --- the whole way ---


def test_training_and_loading_go_back_to_the_step_before(tmp_path, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    shrink.trained(shrink.tiny_points(num_steps=6), whole)
    shrink.trained(shrink.tiny_points(num_steps=4), cut)
    flip(next(path for path in (cut / "checkpoints" / "4" / "state" / "d").iterdir()))
    assert fdrl_jax.load(cut).step == 2
    with pytest.raises(InputError, match=r"checkpoints.4 cannot be read: state/d/\w+ is not as it was written"):
        fdrl_jax.load(cut, step=4)
    shrink.trained(shrink.tiny_points(num_steps=6), cut)
    assert "resume at step 2 of 6" in capsys.readouterr().out
    a, b = (fdrl_jax.load(workdir, ema=False) for workdir in (whole, cut))
    assert_equal(a.params, b.params)
    assert (whole / "metrics.jsonl").read_text() == (cut / "metrics.jsonl").read_text()


def test_the_best_checkpoint_is_checked_too(tmp_path):
    config = shrink.tiny_points()
    config.diagnostics.best = "sliced_wasserstein"
    shrink.trained(config, tmp_path)
    best = fdrl_jax.load(tmp_path, step="best").step
    flip(tmp_path / "best" / str(best) / "state" / "_METADATA")
    with pytest.raises(InputError, match=rf"best.{best} cannot be read: state/_METADATA is not as it was written"):
        fdrl_jax.load(tmp_path, step="best")


def test_what_a_kill_left_of_a_best_checkpoint_is_not_in_the_way(tmp_path, capsys):
    """Killed when the step was kept and the record did not name it yet; the run goes on from before."""
    config = shrink.tiny_points()
    config.diagnostics.best = "sliced_wasserstein"
    shrink.trained(config, tmp_path)
    (tmp_path / "best.json").unlink()
    shutil.rmtree(tmp_path / "checkpoints" / "4")
    shrink.trained(config, tmp_path)
    assert "best/4 is renamed to 4.damaged" in capsys.readouterr().out
    assert fdrl_jax.load(tmp_path, step="best").step == 4


def test_names_that_are_no_steps_are_left_alone(kept, tmp_path):
    workdir = shutil.copytree(kept, tmp_path / "run")
    for name in ("08", "x", "9.damaged", "²"):
        (workdir / "checkpoints" / name).mkdir()
    (workdir / "checkpoints" / "11").write_text("a file")
    with checkpoint.Checkpoints(workdir) as checkpoints:
        assert checkpoints.all_steps() == [2, 4]
        assert checkpoints.newest() == 4
