"""Checkpoints come back as they were, and what cannot be read is refused in one line."""

import jax
import numpy as np
import pytest
import shrink

from fdrl_jax import InputError, builders, checkpoint, files, sampling


@pytest.fixture(scope="module")
def experiment():
    return builders.build(shrink.tiny_points())


@pytest.fixture
def saved(experiment, tmp_path):
    state = sampling.initial_state(experiment)
    with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(1, state)
    return tmp_path, state


def restore(workdir, experiment, step=1):
    with checkpoint.Checkpoints(workdir) as checkpoints:
        return checkpoints.restore(step, sampling.abstract_state(experiment))


def test_round_trip_is_exact(saved, experiment):
    workdir, state = saved
    restored = restore(workdir, experiment)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    jax.tree.map(lambda a, b: pytest.fail("dtype") if a.dtype != b.dtype else None, restored, state)


def test_a_state_may_be_donated_while_it_is_written(experiment, tmp_path):
    # The next training step overwrites these buffers while the writer thread still runs.
    state = sampling.initial_state(experiment)
    expected = jax.tree.map(np.array, state)
    overwrite = jax.jit(lambda tree: jax.tree.map(lambda x: x * 0 + 7, tree), donate_argnums=0)
    with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(1, state)
        overwrite(state)
    jax.tree.map(np.testing.assert_array_equal, restore(tmp_path, experiment), expected)


def test_the_newest_are_kept(experiment, tmp_path):
    state = sampling.initial_state(experiment)
    with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, state)
        checkpoints.wait()
        assert checkpoints.latest_step() == 3
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"2", "3"}


def test_a_save_that_orbax_would_skip_is_an_error(saved, experiment):
    workdir, state = saved
    with checkpoint.Checkpoints(workdir, keep=2) as checkpoints, pytest.raises(InputError, match="not written"):
        checkpoints.save(0, state)


def test_another_network_is_refused(saved):
    config = shrink.tiny_points()
    config.model.width = (8, 9)
    with pytest.raises(InputError, match=r"ema_params\.Dense_1\.bias is 'float32 \(8,\)' there and 'float32 \(9,\)' "):
        restore(saved[0], builders.build(config))


def test_another_dtype_is_refused(saved, experiment):
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, np.float16), sampling.abstract_state(experiment))
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


def test_setup_round_trip(tmp_path):
    config = builders.normalise(shrink.tiny_digits())
    arrays = {"mean": np.arange(3, dtype=np.float32)}
    checkpoint.write_setup(tmp_path, config, arrays)
    assert builders.normalise(checkpoint.read_config(tmp_path)) == config
    np.testing.assert_array_equal(checkpoint.read_prior(tmp_path)["mean"], arrays["mean"])


def test_nothing_there_is_none(tmp_path):
    assert checkpoint.read_config(tmp_path) is None
    assert checkpoint.read_prior(tmp_path) == {}


def test_damaged_setup_files_are_named(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": ')
    (tmp_path / "prior.npz").write_bytes(b"not a zip file")
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        checkpoint.read_config(tmp_path)
    with pytest.raises(InputError, match=r"prior\.npz is damaged"):
        checkpoint.read_prior(tmp_path)


def test_checkpoints_without_a_config_are_not_touched(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match=r"no config\.json"):
        checkpoint.read_config(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with files.atomic(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
