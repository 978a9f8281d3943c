"""A short torture: real processes are killed by SIGKILL, and their runs end like one that was not killed.

Covers: `robustness.torture`.
"""

import pytest

from benchmarks.robustness import torture


@pytest.mark.slow
def test_killed_runs_end_like_one_that_was_not(tmp_path, capsys):
    counts = torture.torture(tmp_path, kills=3, steps=40, seed=2, small=True)
    assert counts.total() == 3
    assert "ended like one that was not killed" in capsys.readouterr().out


@pytest.mark.slow
def test_a_different_end_is_reported(tmp_path, monkeypatch):
    outcome, count = torture.outcome, iter(range(2))
    # The second outcome, of the run that is killed, has different metrics.
    monkeypatch.setattr(torture, "run_and_kill", lambda run, *_: torture.finish(run) or "")
    monkeypatch.setattr(
        torture, "outcome", lambda *args: outcome(*args) | ({"metrics.jsonl": b""} if next(count) else {})
    )
    with pytest.raises(SystemExit, match=r"run 1 differs from one that was not killed: metrics\.jsonl"):
        torture.torture(tmp_path, kills=1, steps=8, seed=0, small=True)
