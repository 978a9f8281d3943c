"""The torture command, short: real processes, SIGKILL, and the same end."""

import pytest

from benchmarks import torture


@pytest.mark.slow
def test_killed_runs_end_as_one_that_was_not(tmp_path, capsys):
    counts = torture.torture(tmp_path, kills=3, steps=40, seed=2, small=True)
    assert counts.total() == 3
    assert "ended as one that was not killed" in capsys.readouterr().out


def test_another_end_is_found(tmp_path, monkeypatch):
    outcome, count = torture.outcome, iter(range(2))
    # The second time, one bit of the state is another.
    monkeypatch.setattr(torture, "run_and_kill", lambda run, *_: torture.finish(run) or "")
    monkeypatch.setattr(
        torture, "outcome", lambda *args: outcome(*args) | ({"metrics.jsonl": b""} if next(count) else {})
    )
    with pytest.raises(SystemExit, match=r"run 1 ended otherwise than one that was not killed: metrics\.jsonl"):
        torture.torture(tmp_path, kills=1, steps=8, seed=0, small=True)
