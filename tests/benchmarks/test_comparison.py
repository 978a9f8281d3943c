"""`python -m benchmarks` in miniature, without PyTorch.

Covers: `speed.comparison`, `speed.rows`, `speed.timed_calls`.
"""

import json
import re

import jax
import pytest

from benchmarks.common import cases
from benchmarks.speed import comparison
from benchmarks.speed.rows import ROWS


@pytest.mark.slow
def test_the_command_writes_all_rows_without_pytorch(tmp_path, capsys, fast_rates):
    networks, out = ("toy", "lsun128"), tmp_path / "table.json"
    flags = [f"--networks={','.join(networks)}", "--precision=float32", "--torch_python=none", f"--out={out}"]
    comparison.main(["--smoke", *flags])
    results = json.loads(out.read_text())
    rows = {(row["network"], row["row"]): row for row in results["rows"]}
    toy_rows = set(ROWS) - {"prior fit", "prior draw"}  # its prior is N(0, I)
    expected = {(name, row) for name in networks for row in (toy_rows if name == "toy" else ROWS)}
    assert set(rows) == expected
    assert len(results["rows"]) == len(expected)
    for row in rows.values():
        assert row["seconds"]["ours"] > 0
        assert len(row["all_seconds"]["ours"]) == 1  # without the round that warms up
        floor = max(row["flops"] / 2e9, row["bytes"] / 1e9)
        assert row["over_floor"]["ours"] == pytest.approx(row["seconds"]["ours"] / floor)
        assert row["ratios"] == {}
    assert results["torch"] is None
    printed = capsys.readouterr().out
    assert "--torch_python=none: our times alone" in printed
    assert all(re.search(rf"^{name} +{row} ", printed, re.MULTILINE) for name, row in expected)
    trip = results["round_trip_us"]["toy"]
    assert trip is None or f", round trip between cores {trip:.2f} us; K = " in printed
    assert all(f"first training step of {name}, with its compilation: " in printed for name in networks)


@pytest.mark.slow
def test_half_precision_has_its_own_column(fast_rates, tmp_path):
    out = tmp_path / "table.json"
    comparison.main(["--smoke", "--networks=digits", "--torch_python=none", f"--out={out}"])
    rows = {row["row"]: row for row in json.loads(out.read_text())["rows"]}
    assert set(rows) == set(ROWS)
    flow = rows["flow step"]
    assert set(flow["seconds"]) == {"ours", "ours bf16"}
    assert flow["floor_seconds"]["ours bf16"] <= flow["floor_seconds"]["ours"]


def test_the_load_suits_the_machine(monkeypatch):
    options = comparison.parsed([])
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert comparison.loads(options) is cases.ACCELERATOR
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert comparison.loads(options) is cases.CPU
    assert comparison.loads(comparison.parsed(["--smoke"])) is cases.SMOKE
