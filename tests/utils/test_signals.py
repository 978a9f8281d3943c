"""Signals and interrupts: a run that is stopped at any step continues exactly as if it had not been stopped."""

import os
import signal
import threading

import jax
import numpy as np
import pytest
import shrink

import fdrl_jax
from fdrl_jax import StoppedError, cli
from fdrl_jax.experiment import checkpoint, workdir_files
from fdrl_jax.experiment.model import abstract_state
from fdrl_jax.training import run_log
from fdrl_jax.training.loop import train
from fdrl_jax.utils import signals

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
def handlers_of_a_terminal():
    """Set the handlers of a process in a terminal, because tests that a script runs in the background ignore SIGINT."""
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
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
            abstract = abstract_state(fdrl_jax.load(workdir).experiment)
            states.append(checkpoints.restore(8, abstract))
    jax.tree.map(np.testing.assert_array_equal, *states)
    assert (a / "metrics.jsonl").read_text() == (b / "metrics.jsonl").read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    assert cli.run(["main.py", f"--workdir={workdir}", *COMMAND]) == 0
    return workdir


def at_step(monkeypatch, step, action):
    """Call `action` while training is in step `step`."""
    advance, count = run_log.RunLog.advance, iter(range(1, 100))

    def and_act(self):
        advance(self)
        if next(count) == step:
            action()

    monkeypatch.setattr(run_log.RunLog, "advance", and_act)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_signal_saves_the_step_and_the_run_goes_on_exactly(number, code, step, whole, tmp_path, monkeypatch, capsys):
    handlers = [signal.getsignal(each) for each in signals.SIGNALS]
    command = ["main.py", f"--workdir={tmp_path}", *COMMAND]
    with monkeypatch.context() as patch:
        at_step(patch, step, lambda: os.kill(os.getpid(), number))
        assert cli.run(command) == code
    err = capsys.readouterr().err.splitlines()[-1]
    assert err == f"{number.name}: stopped after step {step} of 8, which is saved: the same command goes on"
    assert [signal.getsignal(each) for each in signals.SIGNALS] == handlers
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.newest() == step
    assert not (tmp_path / "lock").exists()
    assert cli.run(command) == 0
    assert f"resume at step {step} of 8" in capsys.readouterr().out
    assert_same_run(whole, tmp_path)


def test_a_signal_in_the_last_step_changes_nothing(whole, tmp_path, monkeypatch):
    at_step(monkeypatch, 8, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert cli.run(["main.py", f"--workdir={tmp_path}", *COMMAND]) == 0
    assert_same_run(whole, tmp_path)


def test_a_signal_before_the_first_step_stops_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workdir_files, "write_config", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    command = ["main.py", f"--workdir={tmp_path}", *COMMAND]
    assert cli.run(command) == 143
    assert "SIGTERM: stopped before a step was done" in capsys.readouterr().err
    assert not (tmp_path / "checkpoints").exists()
    monkeypatch.undo()
    assert cli.run(command) == 0


def test_a_second_signal_has_its_default_effect():
    with signals.stop_on_signals() as stop:
        assert stop() == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop() == signal.SIGTERM
        assert [signal.getsignal(each) for each in signals.SIGNALS] == [signal.SIG_DFL] * 2


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals.stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop() == 0
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop() == signal.SIGTERM
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_thread_gets_no_handlers():
    results = []

    def call_stop():
        with signals.stop_on_signals() as stop:
            results.append(stop())

    thread = threading.Thread(target=call_stop)
    thread.start()
    thread.join()
    assert results == [0]


def test_a_signal_raises_so_that_files_are_tidied_up():
    tidied = []

    def interrupted():
        with signals.raise_on_signals("stopped: nothing was written"):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                tidied.append(signal.getsignal(signal.SIGTERM))

    with pytest.raises(StoppedError, match="stopped: nothing was written") as error:
        interrupted()
    assert error.value.signal == signal.SIGTERM
    assert tidied == [signal.SIG_DFL]


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
        with signals.stop_on_interrupt() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            reached.append(stop())
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("after the second")

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()
    assert reached == [signal.SIGINT]


def test_an_interrupt_in_the_last_step_is_raised_at_the_end(tmp_path, monkeypatch):
    at_step(monkeypatch, 8, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(config(), tmp_path, progress=False)
    assert fdrl_jax.load(tmp_path).step == 8


def test_any_function_that_returns_a_number_stops_the_run(tmp_path):
    with pytest.raises(StoppedError, match="stopped after step 1 of 8, which is saved"):
        train(config(), tmp_path, progress=False, stop=lambda: 7)
    assert fdrl_jax.load(tmp_path).step == 1
