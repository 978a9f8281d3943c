"""The training loop: resuming, logs, pictures, and stopping when the numbers go bad.

Covers: `run_setup`, `run_log`, `parameter_table`.
"""

import importlib
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shrink
from PIL import Image
from tensorboardX.proto import event_pb2

import fdrl_jax
from configs import emoji_translation64
from fdrl_jax import losses, priors
from fdrl_jax.experiment import builders, checkpoint
from fdrl_jax.experiment.model import abstract_state
from fdrl_jax.methods import prior_draws
from fdrl_jax.training.loop import train
from fdrl_jax.utils import rng


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def full_state(model, workdir):
    with checkpoint.Checkpoints(workdir) as checkpoints:
        return checkpoints.restore(checkpoints.newest(), abstract_state(model.experiment))


@pytest.mark.parametrize("tiny", [shrink.tiny_points, shrink.tiny_digits])
def test_resuming_changes_nothing(tiny, tmp_path):
    whole = shrink.trained(tiny(num_steps=6), tmp_path / "whole")
    shrink.trained(tiny(num_steps=2), tmp_path / "cut")
    resumed = shrink.trained(tiny(num_steps=6), tmp_path / "cut")
    jax.tree.map(
        np.testing.assert_array_equal, full_state(whole, tmp_path / "whole"), full_state(resumed, tmp_path / "cut")
    )
    assert lines(tmp_path / "whole") == lines(tmp_path / "cut")


def test_metrics_after_the_checkpoint_are_dropped_on_resume(tmp_path):
    shrink.trained(shrink.tiny_points(num_steps=2), tmp_path)
    good = lines(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "loss": 99}\n{"step": 4, "lo')  # What a killed run may leave.
    shrink.trained(shrink.tiny_points(num_steps=4), tmp_path)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4]
    assert lines(tmp_path)[:2] == good
    assert lines(tmp_path)[2]["loss"] != 99


def test_a_finished_run_does_nothing(tmp_path, capsys):
    shrink.trained(shrink.tiny_points(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    shrink.trained(shrink.tiny_points(), tmp_path)
    assert "trained to step 4 of 4: nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_what_a_run_leaves_behind(tmp_path):
    shrink.trained(shrink.tiny_digits(), tmp_path)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4]
    assert set(lines(tmp_path)[0]) == {
        "step", "loss", "ratio_data", "ratio_flow", "grad_norm", "max_flow", "learning_rate"
    }  # fmt: skip
    # 8 x 8 images of 8 x 8 pixels, each enlarged 5 times with gaps of 2: 8 (40 + 2) + 2.
    assert read_picture(tmp_path, 4).shape == (338, 338, 3)
    events = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    tags = [value.tag for event in read_events(events) for value in event.summary.value]
    assert tags.count("loss") == 4
    assert tags.count("samples") == 1
    assert (tmp_path / "prior.npz").exists()
    assert (tmp_path / "config.json").exists()


def read_picture(workdir, step):
    with Image.open(workdir / "samples" / f"{step:08d}.png") as image:
        return np.asarray(image)


def read_events(data):
    """Events of a TensorBoard file: length (8 bytes), its checksum (4), the event, its checksum (4), and again."""
    while data:
        length = int.from_bytes(data[:8], "little")
        event = event_pb2.Event()
        event.ParseFromString(data[12 : 12 + length])
        yield event
        data = data[16 + length :]


def test_pictures_come_from_one_seed(tmp_path):
    # With the same parameters (rate too small to move them) the same picture.
    config = shrink.tiny_points()
    config.optimizer.learning_rate = 1e-30
    config.train.sample_every = 2
    shrink.trained(config, tmp_path)
    np.testing.assert_array_equal(read_picture(tmp_path, 2), read_picture(tmp_path, 4))


def test_the_progress_bar_shows_loss_and_ratios(tmp_path, capsys):
    train(shrink.tiny_points(), tmp_path)
    bar = capsys.readouterr().err
    for part in ("train", "4/4", "step/s", "loss", "ratio on data", "on samples"):
        assert part in bar


def diverging(num_steps):
    config = shrink.tiny_points(num_steps=num_steps)
    config.loss, config.divergence = "lsif", "chi2"
    return config


def test_divergence_names_the_step_and_keeps_the_last_good_checkpoint(tmp_path):
    good = shrink.trained(diverging(2), tmp_path)
    expected = full_state(good, tmp_path)
    # Poison the data from step 3 on, two steps into an interval of logging.
    config = diverging(6)
    config.train.log_every = 4
    config.train.checkpoint_every = 4

    original = type(builders.dataset(good.experiment)).batch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(builders.dataset(good.experiment)),
            "batch",
            lambda self, seed, step, *share: (
                original(self, seed, step, *share) * np.float32(np.nan if step >= 3 else 1)
            ),
        )
        with pytest.raises(fdrl_jax.DivergedError, match=r"in step 3; the last good checkpoint is step 2") as caught:
            shrink.trained(config, tmp_path)
    assert "\n" not in str(caught.value)
    jax.tree.map(np.testing.assert_array_equal, full_state(good, tmp_path), expected)
    assert fdrl_jax.load(tmp_path).step == 2


def test_a_finite_loss_with_a_bad_gradient_stops_too(tmp_path, monkeypatch):
    """Its update would put NaN into parameters that a checkpoint then keeps."""

    def loss(data_output, flow_output):
        return jnp.sqrt(0 * data_output), flow_output  # 0, with gradient 0 * inf.

    monkeypatch.setitem(losses.LOSSES, "lsif", loss)
    with pytest.raises(
        fdrl_jax.DivergedError, match=r"loss -?\d.*, gradient norm nan in step 0; there is no checkpoint"
    ):
        shrink.trained(diverging(4), tmp_path)


def test_another_experiment_is_refused_with_the_difference(tmp_path):
    shrink.trained(shrink.tiny_points(), tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    config = shrink.tiny_points()
    config.flow.step_size = 0.5
    with pytest.raises(fdrl_jax.InputError, match=r"config\.flow\.step_size is 0\.1 there and 0\.5 here"):
        shrink.trained(config, tmp_path)
    assert (tmp_path / "config.json").read_bytes() == before


def test_the_prior_of_a_resumed_run_is_the_stored_one(tmp_path):
    shrink.trained(shrink.tiny_digits(num_steps=2), tmp_path)
    (tmp_path / "prior.npz").unlink()
    with pytest.raises(fdrl_jax.InputError, match=r"restore prior\.npz"):
        shrink.trained(shrink.tiny_digits(num_steps=4), tmp_path)


def test_stale_training_ignores_the_flow(tmp_path):
    """guided=False: training does not depend on K (section 3.1 of the paper)."""
    results = []
    for num_steps in (1, 5):
        config = shrink.tiny_points()
        config.flow.update(num_steps=num_steps, guided=False)
        results.append(shrink.trained(config, tmp_path / str(num_steps)).params)
    jax.tree.map(np.testing.assert_array_equal, *results)


# --- where the prior lives ---


@pytest.mark.slow
def test_a_prior_too_large_for_the_device_is_drawn_on_the_host(tmp_path, monkeypatch, capsys):
    on_device = shrink.trained(shrink.tiny_digits(), tmp_path / "device")
    assert "prior: 0 MiB, on one device (of " in capsys.readouterr().out
    monkeypatch.setattr(priors, "device_memory", lambda device: 100)
    # By its name: the package has a function that is called as the module is.
    placement = importlib.import_module("fdrl_jax.priors.placement")
    monkeypatch.setattr(placement, "device_memory", lambda device: 100)
    on_host = shrink.trained(shrink.tiny_digits(), tmp_path / "host")
    assert "prior: 0 MiB, on the host, drawn ahead of time" in capsys.readouterr().out
    assert isinstance(on_host.prior, priors.HostGaussian)
    # The same draws of the same keys, but for rounding, which four steps of Adam enlarge.
    for a, b in zip(jax.tree.leaves(on_device.params), jax.tree.leaves(on_host.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    # Those of each step: what the step on the device draws by itself.
    root = jax.random.key(1)
    for step in (0, 3):
        expected = on_device.prior.sample(rng.per_sample(rng.stream(root, "prior", step), 6))
        np.testing.assert_allclose(prior_draws.prior_of_step(on_host.prior, root, step, 6).x, expected, atol=1e-5)
    samples = [fdrl_jax.sample(m, 0, 5, num_steps=0, progress=False) for m in (on_device, on_host)]
    np.testing.assert_allclose(*samples, atol=1e-5)
    loaded = fdrl_jax.load(tmp_path / "host")
    assert isinstance(loaded.prior, priors.HostGaussian)


def test_a_run_may_go_on_after_its_files_were_moved(tmp_path):
    config = shrink.shrink(emoji_translation64.get_config(), num_steps=2, folder=tmp_path)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    config.train.num_steps = 3
    expected = shrink.trained(config, whole)
    config.train.num_steps = 2
    shrink.trained(config, cut)
    for group in (config.data, config.prior):
        moved = f"{group.path}-moved"
        shutil.move(group.path, moved)
        group.path = moved
    config.data.cache = str(tmp_path / "other-cache")
    config.train.num_steps = 3
    # But they must be the same.
    good, changed = (pathlib.Path(config.data.path) / name for name in ("0003.png", "0004.png"))
    kept = changed.read_bytes()
    changed.write_bytes(good.read_bytes())
    with pytest.raises(fdrl_jax.InputError, match=r"the images in .*data-moved are not those that the run in .*cut"):
        shrink.trained(config, cut)
    changed.write_bytes(kept)
    resumed = shrink.trained(config, cut)
    jax.tree.map(np.testing.assert_array_equal, expected.params, resumed.params)
    # Spectral norm's vectors too: they are part of the state.
    jax.tree.map(np.testing.assert_array_equal, full_state(expected, whole), full_state(resumed, cut))
    assert full_state(expected, whole).spectral
