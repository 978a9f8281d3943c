"""Locks, signals and interrupts: a run is stopped at any step and goes on as if it had not been."""

import os
import pathlib
import signal
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest
import shrink

import fdrl_jax
import main
from fdrl_jax import InputError, StoppedError, checkpoint, observe, run_files, sampling, stopping
from fdrl_jax.train import train

ROOT = pathlib.Path(main.__file__).parent
COMMAND = (
    "--config=configs/gaussians.py:far-fdrl",
    "--config.data.batch_size=16",
    "--config.flow.num_steps=3",
    "--config.model.width=(8,8)",
    "--config.train.num_steps=8",
    "--config.train.log_every=3",
    "--config.train.checkpoint_every=6",
    "--config.train.sample_every=100",
    "--config.diagnostics.every=100",
)


@pytest.fixture(autouse=True)
def heard_signals():
    """As in a terminal: what a script starts in the background, these tests for one, ignores SIGINT."""
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def config():
    config = shrink.tiny_points(num_steps=8)
    config.train.log_every, config.train.checkpoint_every, config.train.sample_every = 3, 6, 100
    config.diagnostics.every = 100
    return config


def assert_same_run(a, b):
    states = []
    for workdir in (a, b):
        with checkpoint.Checkpoints(workdir) as checkpoints:
            abstract = sampling.abstract_state(fdrl_jax.load(workdir).experiment)
            states.append(checkpoints.restore(8, abstract))
    jax.tree.map(np.testing.assert_array_equal, *states)
    assert (a / "metrics.jsonl").read_text() == (b / "metrics.jsonl").read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    assert main.run(["main.py", f"--workdir={workdir}", *COMMAND]) == 0
    return workdir


def at_step(monkeypatch, step, action):
    """Do something while training is in a step."""
    advance, count = observe.Observer.advance, iter(range(1, 100))

    def and_act(self):
        advance(self)
        if next(count) == step:
            action()

    monkeypatch.setattr(observe.Observer, "advance", and_act)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_signal_saves_the_step_and_the_run_goes_on_exactly(number, code, step, whole, tmp_path, monkeypatch, capsys):
    handlers = [signal.getsignal(each) for each in stopping.SIGNALS]
    command = ["main.py", f"--workdir={tmp_path}", *COMMAND]
    with monkeypatch.context() as patch:
        at_step(patch, step, lambda: os.kill(os.getpid(), number))
        assert main.run(command) == code
    err = capsys.readouterr().err.splitlines()[-1]
    assert err == f"{number.name}: stopped after step {step} of 8, which is saved: the same command goes on"
    assert [signal.getsignal(each) for each in stopping.SIGNALS] == handlers
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.newest() == step
    assert not (tmp_path / "lock").exists()
    assert main.run(command) == 0
    assert f"resume at step {step} of 8" in capsys.readouterr().out
    assert_same_run(whole, tmp_path)


def test_a_signal_in_the_last_step_changes_nothing(whole, tmp_path, monkeypatch):
    at_step(monkeypatch, 8, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert main.run(["main.py", f"--workdir={tmp_path}", *COMMAND]) == 0
    assert_same_run(whole, tmp_path)


def test_a_signal_before_the_first_step_stops_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_files, "write_config", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    command = ["main.py", f"--workdir={tmp_path}", *COMMAND]
    assert main.run(command) == 143
    assert "SIGTERM: stopped before a step was done" in capsys.readouterr().err
    assert not (tmp_path / "checkpoints").exists()
    monkeypatch.undo()
    assert main.run(command) == 0


def test_a_second_signal_has_its_default_effect():
    with stopping.by_signals() as stop:
        assert stop() == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop() == signal.SIGTERM
        assert [signal.getsignal(each) for each in stopping.SIGNALS] == [signal.SIG_DFL] * 2


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping.by_signals() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop() == 0
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop() == signal.SIGTERM
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_thread_gets_no_handlers():
    answers = []

    def ask():
        with stopping.by_signals() as stop:
            answers.append(stop())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert answers == [0]


def test_an_interrupt_in_python_saves_the_step(whole, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt, match="stopped after step 5 of 8, which is saved"):
            train(config(), tmp_path, progress=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    train(config(), tmp_path, progress=False)
    assert "resume at step 5 of 8" in capsys.readouterr().out
    assert_same_run(whole, tmp_path)


def test_a_second_interrupt_in_python_is_raised_at_once():
    reached = []

    def interrupted_twice():
        with stopping.by_interrupt() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            reached.append(stop())
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("after the second")

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()
    assert reached == [signal.SIGINT]


def test_an_interrupt_that_nobody_asked_about_is_raised_at_the_end(tmp_path, monkeypatch):
    at_step(monkeypatch, 8, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(config(), tmp_path, progress=False)
    assert fdrl_jax.load(tmp_path).step == 8


def test_any_question_that_is_answered_stops(tmp_path):
    with pytest.raises(StoppedError, match="stopped after step 1 of 8, which is saved"):
        train(config(), tmp_path, progress=False, stop=lambda: 7)
    assert fdrl_jax.load(tmp_path).step == 1


# --- locks ---


def test_two_processes_on_one_workdir(tmp_path):
    """The second is told who the first is; the lock of one that was killed is free."""
    code = (
        "import pathlib, sys, time\nfrom fdrl_jax import run_files\n"
        "with run_files.locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
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
    with run_files.locked(tmp_path):
        assert f"process {os.getpid()} on " in (tmp_path / "lock").read_text()
    assert not (tmp_path / "lock").exists()


def test_a_lock_that_was_removed_while_it_was_waited_for_is_taken_again(tmp_path, monkeypatch):
    """Between opening the file and locking it, the holder removes it: that lock would hold nothing."""
    import fcntl

    flock, calls = fcntl.flock, []

    def remove_and_lock(file, how):
        if not calls:
            (tmp_path / "lock").unlink()
        calls.append(how)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", remove_and_lock)
    with run_files.locked(tmp_path):
        assert len(calls) == 2
        with pytest.raises(InputError, match="in use"), run_files.locked(tmp_path):
            pass


def test_a_loaded_run_needs_no_lock(whole):
    with run_files.locked(whole):
        assert fdrl_jax.load(whole).step == 8


def test_a_setup_without_a_checkpoint_may_be_removed(tmp_path, monkeypatch):
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
