"""A short soak, and the growth that it computes from rows.

Covers: `robustness.soak`.
"""

import dataclasses

import pytest

from benchmarks.robustness import soak


def rows(**per_step):
    """Return rows that rise during a warm-up of 600 steps and are flat after it, plus growth `per_step`."""
    flat = {"memory": 500.0, "files": 20, "threads": 30}
    return [
        soak.Row(step, **{k: v * min(1, step / 600) + per_step.get(k, 0) * step for k, v in flat.items()})
        for step in range(100, 2001, 100)
    ]


def test_growth_is_that_after_the_warm_up():
    assert soak.growth(rows()) == pytest.approx({"memory": 0, "files": 0, "threads": 0}, abs=1e-6)
    assert soak.growth(rows(memory=0.05, files=0.002)) == pytest.approx(
        {"memory": 50, "files": 2, "threads": 0}, abs=1e-6
    )


def test_memory_given_back_at_once_hides_no_leak():
    leak = rows(memory=0.05)
    dropped = [dataclasses.replace(row, memory=row.memory - 100 * (row.step > 600)) for row in leak]
    assert soak.growth(dropped)["memory"] == pytest.approx(50)


def test_a_save_that_is_under_way_is_no_growth():
    saving = [dataclasses.replace(row, files=10 + 8 * (i % 2)) for i, row in enumerate(rows())]
    assert soak.growth(saving)["files"] == 0


def test_open_files_of_this_process_are_counted(tmp_path):
    before = soak.read_process(1)
    with (tmp_path / "a").open("w"), (tmp_path / "b").open("w"):
        after = soak.read_process(2)
    assert after.files == before.files + 2
    assert before.threads > 0
    assert 10 < before.memory < 100_000


@pytest.mark.parametrize(("leak", "code"), [(0, 0), (1, 1)])
def test_the_exit_code_says_whether_it_is_flat(leak, code, monkeypatch, capsys):
    monkeypatch.setattr(soak, "soak", lambda *_: rows(threads=leak))
    assert soak.main([]) == code
    assert ("NOT flat" in capsys.readouterr().out) == bool(code)


@pytest.mark.slow
def test_a_run_does_not_grow(tmp_path, capsys):
    grown = soak.growth(soak.soak(tmp_path / "run", 1000, 50))
    assert {name: value for name, value in grown.items() if value > soak.ALLOWED[name]} == {}
