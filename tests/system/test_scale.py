"""More samples than memory holds, and the second start of a run, as the commands do them."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import shrink
from paths import ROOT

import fdrl_jax
from fdrl_jax import cli
from fdrl_jax.inference import sample_files, sampling
from fdrl_jax.utils import signals


def python(*arguments, **environment):
    """Output of a process of its own, with one CPU device and no compilation cache but what is asked for."""
    env = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    env |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run([sys.executable, *arguments], env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- samples by the thousand ---

PEAK = """
import resource, sys, pathlib
import jax
from configs import fashion_mnist
from fdrl_jax import priors
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import initial_state, model_from_state
from fdrl_jax.inference import sample_files

config = fashion_mnist.get_config()
config.prior = {"name": "uniform"}
config.model.stem, config.model.stages = 1, ((1, 1, 2),)
experiment = builders.build(config)
state = initial_state(experiment)
model = model_from_state(experiment, state, priors.Uniform(experiment.event_shape))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def write(count):
    sample_files.write_samples(model, pathlib.Path(sys.argv[1]), num_samples=count, seed=0, num_steps=1, batch_size=500)

write(1000)
before = peak()
write(50_000)
print(peak() - before)
"""


@pytest.mark.slow
def test_fifty_thousand_samples_go_to_disk_in_the_memory_of_a_batch(tmp_path):
    out = tmp_path / "samples.npz"
    grown = int(python("-c", PEAK, out))
    size = 50_000 * 32 * 32 * 4
    assert out.stat().st_size > size
    assert grown < 0.25 * size
    with np.load(out) as arrays:
        assert arrays["samples"].shape == (50_000, 32, 32, 1)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("digits") / "run"
    shrink.trained(shrink.tiny_digits(), workdir)
    return workdir


def test_what_is_written_batch_by_batch_is_what_sample_gives(tmp_path, capsys):
    model = shrink.trained(shrink.tiny_digits(), tmp_path / "run")
    out = tmp_path / "samples.npz"
    capsys.readouterr()
    sample_files.write_samples(model, out, num_samples=10, seed=3, num_steps=2, batch_size=4)
    assert "flow step" in capsys.readouterr().err  # The bar.
    with np.load(out, allow_pickle=False) as arrays:
        assert list(arrays) == ["samples"]
        assert arrays["samples"].dtype == np.float32
        expected = fdrl_jax.sample(model, 3, 10, num_steps=2, batch_size=4, progress=False)
        np.testing.assert_array_equal(arrays["samples"], expected)


def test_a_file_cut_short_is_not_left_behind(tmp_path, monkeypatch):
    model = shrink.trained(shrink.tiny_points(), tmp_path / "run")

    def batches(*_, **__):
        yield np.zeros((4, 2), np.float32)
        raise KeyboardInterrupt

    monkeypatch.setattr(sampling, "batches", batches)
    with pytest.raises(KeyboardInterrupt):
        sample_files.write_samples(model, tmp_path / "samples.npz", num_samples=10, seed=0, num_steps=1)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize(
    ("out", "left", "said"),
    [
        ("s.npz", [], "s.npz was not written"),
        ("new/", ["000000.png", "000001.png"], "new/ has some of the samples: delete it"),
    ],
)
def test_sampling_that_is_told_to_stop_tidies_up(tmp_path, capsys, monkeypatch, digits, number, code, out, left, said):
    def batches(*_, **__):
        yield np.zeros((2, 8, 8, 1), np.float32)
        signal.raise_signal(number)
        yield np.zeros((2, 8, 8, 1), np.float32)

    monkeypatch.setattr(sampling, "batches", batches)
    handlers = [signal.signal(each, signal.default_int_handler) for each in signals.SIGNALS]
    try:
        command = ["main.py", "--mode=sample", f"--workdir={digits}", "--num_samples=4", f"--out={tmp_path}/{out}"]
        assert cli.run([*command, "--compile_cache=off"]) == code
        assert [signal.getsignal(each) for each in signals.SIGNALS] == [signal.default_int_handler] * 2
    finally:
        for each, handler in zip(signals.SIGNALS, handlers, strict=True):
            signal.signal(each, handler)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"{number.name}: stopped: {tmp_path}/{said}")
    folder = tmp_path / "new" if left else tmp_path
    assert sorted(path.name for path in folder.iterdir()) == left


# --- the second start ---


@pytest.mark.slow
def test_the_second_start_compiles_nothing(tmp_path):
    def train(num_steps, *more):
        python(
            *("main.py", "--config=configs/gaussians.py:far-fdrl", f"--workdir={tmp_path / 'run'}", *more),
            *("--config.flow.num_steps=3", f"--config.train.num_steps={num_steps}", "--config.train.sample_every=1000"),
        )
        return {path.name for path in (tmp_path / "run" / "compile_cache").glob("*-cache")}

    first = train(2)
    assert any(name.startswith("jit_train_step-") for name in first)
    assert train(4) == first


@pytest.mark.slow
def test_the_cache_of_compiled_programs_can_be_left_out(tmp_path):
    python(
        *("main.py", "--config=configs/gaussians.py:far-fdrl", f"--workdir={tmp_path / 'run'}", "--compile_cache=off"),
        *("--config.flow.num_steps=3", "--config.train.num_steps=2"),
        JAX_COMPILATION_CACHE_DIR=str(tmp_path / "jax"),
    )
    assert not (tmp_path / "run" / "compile_cache").exists()
    assert not (tmp_path / "jax").exists()
