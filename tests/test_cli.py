"""The command line, in this process: cli.run(argv) returns the exit code.

Covers: `flags`.
"""

import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import shrink
from paths import ROOT
from PIL import Image

import fdrl_jax
from fdrl_jax import cli
from fdrl_jax.experiment import checkpoint
from fdrl_jax.experiment.model import abstract_state
from fdrl_jax.flags import MODES

TINY = (
    "--config.data.batch_size=16",
    "--config.flow.num_steps=3",
    "--config.model.width=(8,8)",
    "--config.train.num_steps=4",
    "--config.train.checkpoint_every=2",
    "--config.train.sample_every=4",
)
FAR = "--config=configs/gaussians.py:far-fdrl"


def run(*argv):
    return cli.run(["main.py", *map(str, argv)])


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("points")
    assert run(FAR, f"--workdir={workdir}", *TINY) == 0
    return workdir


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("digits")
    shrink.trained(shrink.tiny_digits(), workdir)
    return workdir


def test_train_is_the_default_and_overrides_reach_the_run(points):
    model = fdrl_jax.load(points)
    assert model.step == 4
    assert model.experiment.config["model"]["width"] == (8, 8)
    assert model.experiment.config["data"]["mean"] == (6.0, 6.0)


def test_the_same_command_again_says_so(points, capsys):
    assert run(FAR, f"--workdir={points}", *TINY, "--mode=train") == 0
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "shape"), [("digits", (8, 8, 1)), ("points", (2,))])
def test_sample_npz(name, shape, request, tmp_path):
    workdir, out = request.getfixturevalue(name), tmp_path / "s.npz"
    flags = ("--mode=sample", f"--workdir={workdir}", f"--out={out}", "--num_samples=5", "--seed=3", "--batch_size=2")
    assert run(*flags) == 0
    with np.load(out) as arrays:
        assert set(arrays) == {"samples"}
        samples = arrays["samples"]
    assert (samples.shape, samples.dtype) == ((5, *shape), np.float32)
    expected = fdrl_jax.sample(fdrl_jax.load(workdir), jax.random.key(3), 5, progress=False)
    np.testing.assert_allclose(samples, expected, atol=2e-5)


def test_sample_png(digits, tmp_path):
    out = tmp_path / "grid.png"
    assert run("--mode=sample", f"--workdir={digits}", f"--out={out}", "--num_samples=9") == 0
    with Image.open(out) as image:
        assert image.size == (3 * 42 + 2, 3 * 42 + 2)  # Cells of 5 x 8 pixels and gaps of 2.


def test_kappa_changes_the_length_of_the_flow(digits, tmp_path):
    samples = {}
    for kappa in (0, 4):
        assert (
            run(
                "--mode=sample", f"--workdir={digits}", f"--out={tmp_path}/s.npz", "--num_samples=2", f"--kappa={kappa}"
            )
            == 0
        )
        with np.load(tmp_path / "s.npz") as arrays:
            samples[kappa] = arrays["samples"]
    model = fdrl_jax.load(digits)
    for kappa, found in samples.items():  # K is 3.
        expected = fdrl_jax.sample(model, 0, 2, num_steps=3 + kappa, progress=False)
        np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(samples[0] - samples[4]).max() > 1e-3


@pytest.mark.parametrize("name", ["digits", "points"])
def test_every_shows_the_flow(name, request, tmp_path):
    workdir = request.getfixturevalue(name)
    flags = ("--mode=sample", f"--workdir={workdir}", "--num_samples=2", "--every=2", "--kappa=2")
    assert run(*flags, f"--out={tmp_path}/flow.npz") == 0
    with np.load(tmp_path / "flow.npz") as arrays:
        assert arrays["steps"].tolist() == [0, 2, 4, 5]
        assert arrays["trajectory"].shape[:2] == (4, 2)
        np.testing.assert_array_equal(arrays["trajectory"][-1], arrays["samples"])
    assert run(*flags, f"--out={tmp_path}/flow.png") == 0
    with Image.open(tmp_path / "flow.png") as image:
        if name == "digits":
            assert image.size == (4 * 42 + 2, 2 * 42 + 2)  # A row a sample, a column a time.


def test_out_is_replaced_only_when_the_new_one_is_whole(digits, tmp_path, monkeypatch):
    out = tmp_path / "s.npz"
    out.write_bytes(b"old")

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device", str(out))

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", fail)
    assert run("--mode=sample", f"--workdir={digits}", f"--out={out}", "--num_samples=2") == 2
    assert out.read_bytes() == b"old"


def test_help_lists_the_flags(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out.replace("[no]", "")
    for name in {"mode", *(name for names in MODES.values() for name in names)}:
        assert f"--{name}:" in text


def test_divergence_is_one_line_and_exit_code_1(tmp_path, capsys):
    assert run(FAR, f"--workdir={tmp_path}", *TINY, "--config.optimizer.learning_rate=1e38") == 1
    err = capsys.readouterr().err
    assert "error: training diverged: " in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_killed_run_goes_on_and_ends_the_same(points, tmp_path):
    """A real process, SIGKILL, the same command again: the parameters of a run that was never killed."""
    more = [flag for flag in TINY if "train.num_steps" not in flag]
    command = [FAR, f"--workdir={tmp_path}", *more, "--config.train.num_steps=60", "--config.train.sample_every=1000"]
    # One device, as here: more round differently.
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    process = subprocess.Popen(
        [sys.executable, "main.py", *command], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120

    def finished_checkpoints():
        return [*(tmp_path / "checkpoints").glob("*/manifest.json")]

    while not finished_checkpoints() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        assert 2 <= checkpoints.newest() < 60
    assert run(*command) == 0
    expected = tmp_path / "expected"
    assert run(*(flag.replace(f"--workdir={tmp_path}", f"--workdir={expected}") for flag in command)) == 0
    states = []
    for workdir in (tmp_path, expected):
        with checkpoint.Checkpoints(workdir) as checkpoints:
            states.append(checkpoints.restore(60, abstract_state(fdrl_jax.load(workdir).experiment)))
    jax.tree.map(np.testing.assert_array_equal, *states)
    assert (tmp_path / "metrics.jsonl").read_text() == (expected / "metrics.jsonl").read_text()
