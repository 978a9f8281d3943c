"""Several processes, as on several hosts: the commands themselves, on this machine's CPU."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import shrink
import tiny_config
from paths import ROOT

import fdrl_jax
from fdrl_jax.training import stability
from fdrl_jax.utils import multihost

TINY_CONFIG = f"--config={ROOT / 'tests/helpers/tiny_config.py'}"


# Each starts several processes, which compile by themselves.
pytestmark = pytest.mark.slow


@contextlib.contextmanager
def processes(count, devices, logs, *arguments, last=()):
    """`main.py` in `count` processes with `devices` devices each, their output in logs/0, logs/1, ...

    `last` are more arguments of the last one.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    }
    logs.mkdir()
    started = []
    for i in range(count):
        command = [sys.executable, ROOT / "main.py", *arguments, f"--coordinator=localhost:{port}"]
        command += [f"--num_processes={count}", f"--process_id={i}", *(last if i == count - 1 else ())]
        with (logs / str(i)).open("w") as log:
            started.append(subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT))
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def finish(count, devices, logs, *arguments):
    """Run them to their end; what each printed."""
    with processes(count, devices, logs, *arguments) as started:
        codes = [process.wait(timeout=600) for process in started]
    printed = [(logs / str(i)).read_text() for i in range(count)]
    assert codes == [0] * count, printed
    return printed


def metrics(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same run in one process on one device, and samples from it."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    model = shrink.trained(tiny_config.get_config(), workdir)
    return workdir, model, fdrl_jax.sample(model, 0, 10, progress=False)


@pytest.mark.parametrize(("count", "devices"), [(2, 2), (4, 1)])
def test_processes_together_do_what_one_does(alone, tmp_path, count, devices):
    workdir, out = tmp_path / "run", tmp_path / "samples.npz"
    printed = finish(count, devices, tmp_path / "train", TINY_CONFIG, f"--workdir={workdir}")
    one, model, samples = alone
    for ours, theirs in zip(metrics(workdir), metrics(one), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    for ours, theirs in zip(jax.tree.leaves(fdrl_jax.load(workdir).params), jax.tree.leaves(model.params), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    # Written once, and said once.
    assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["2", "4"]
    assert len(list((workdir / "tensorboard").iterdir())) == 1
    assert ["start from step 0" in text for text in printed] == [True] + [False] * (count - 1)
    assert ["4/4" in text for text in printed] == [True] + [False] * (count - 1)
    # 10 samples on 4 devices, in batches of 7: neither divides.
    finish(
        *(count, devices, tmp_path / "sample", "--mode=sample", f"--workdir={workdir}", "--num_samples=10"),
        *("--batch_size=7", f"--out={out}"),
    )
    with np.load(out) as arrays:
        np.testing.assert_allclose(arrays["samples"], samples, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("--config.seed=7", "config.seed is 0 on process 0 and 7 on process 1"),
        ("--config.train.num_steps=30", "config.train.num_steps is 4 on process 0 and 30 on process 1"),
    ],
)
def test_processes_that_were_started_differently_do_not_start(tmp_path, change, said):
    command = [TINY_CONFIG, f"--workdir={tmp_path / 'run'}"]
    with processes(2, 1, tmp_path / "logs", *command, last=[change]) as started:
        assert [process.wait(timeout=120) for process in started] == [2, 2]
    for i in range(2):
        assert said in (tmp_path / "logs" / str(i)).read_text().splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("victim", [0, 1])
def test_all_stop_where_one_is_killed_and_the_restart_resumes(tmp_path, victim):
    workdir = tmp_path / "run"
    command = [
        TINY_CONFIG, f"--workdir={workdir}", "--config.train.checkpoint_every=5",
        "--config.train.log_every=5", "--config.train.sample_every=1000000", "--config.diagnostics.every=1000000",
    ]  # fmt: skip
    with processes(2, 1, tmp_path / "killed", *command, "--config.train.num_steps=1000000") as started:
        wait_for(lambda: (workdir / "checkpoints" / "10" / "manifest.json").exists(), 300)
        started[victim].send_signal(signal.SIGKILL)
        start = time.monotonic()
        code = started[1 - victim].wait(timeout=multihost.HEARTBEAT + 60)
        print(f"stopped {time.monotonic() - start:.1f} s later with code {code}")
    assert code != 0
    kept = max(int(path.parent.name) for path in (workdir / "checkpoints").glob("*/manifest.json"))
    printed = finish(2, 1, tmp_path / "again", *command, f"--config.train.num_steps={kept + 5}")
    assert f"resume at step {kept} of {kept + 5}" in printed[0]
    assert [line["step"] for line in metrics(workdir)] == list(range(5, kept + 6, 5))


@pytest.mark.parametrize("told", [0, 1])
def test_all_stop_at_the_same_step_where_one_is_told_to(tmp_path, told):
    workdir = tmp_path / "run"
    command = [
        TINY_CONFIG, f"--workdir={workdir}", "--config.train.checkpoint_every=1000000",
        "--config.train.log_every=7", "--config.train.sample_every=1000000", "--config.diagnostics.every=1000000",
    ]  # fmt: skip
    with processes(2, 1, tmp_path / "told", *command, "--config.train.num_steps=1000000") as started:
        log = workdir / "metrics.jsonl"
        wait_for(lambda: log.exists() and log.read_text().count("\n") > 1, 300)
        started[told].send_signal(signal.SIGTERM)
        assert [process.wait(timeout=60) for process in started] == [143, 143]
    said = [(tmp_path / "told" / str(i)).read_text().splitlines()[-1] for i in range(2)]
    (kept,) = (int(path.name) for path in (workdir / "checkpoints").iterdir())
    assert said == [f"SIGTERM: stopped after step {kept} of 1000000, which is saved: the same command goes on"] * 2
    printed = finish(2, 1, tmp_path / "again", *command, f"--config.train.num_steps={kept + 7}")
    assert f"resume at step {kept} of {kept + 7}" in printed[0]
    lines = [line["step"] for line in metrics(workdir)]
    assert lines == [step for step in range(1, kept + 8) if step % 7 == 0 or step == kept + 7]


def test_all_go_back_together_where_numbers_go_bad(tmp_path):
    workdir = tmp_path / "run"
    command = [
        TINY_CONFIG, f"--workdir={workdir}", "--config.train.sample_range=1e-3",
        "--config.train.on_divergence=rollback", "--config.train.max_rollbacks=2", "--config.train.log_every=1",
    ]  # fmt: skip
    with processes(2, 1, tmp_path / "bad", *command) as started:
        assert [process.wait(timeout=300) for process in started] == [1, 1]
    first, second = ((tmp_path / "bad" / str(i)).read_text() for i in range(2))
    assert [text.count("back to step 0, the learning rate times") for text in (first, second)] == [2, 0]
    for text in (first, second):
        assert (
            "in step 0, beyond config.train.sample_range = 0.001; there is no checkpoint yet; it was rolled back 2"
            in text
        )
    assert len(stability.read(workdir)) == 2


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)
