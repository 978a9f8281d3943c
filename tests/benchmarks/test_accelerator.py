"""`python -m benchmarks.speed.accelerator` in miniature.

Covers: `speed.accelerator`.
"""

import json
import subprocess

import pytest
from paths import ROOT

from benchmarks.speed import accelerator


@pytest.mark.slow
def test_the_accelerator_script_runs_in_miniature(tmp_path, capsys, fast_rates):
    accelerator.main(
        ["--smoke", "--rounds=1", "--torch_python=none", "--networks=toy", f"--out={tmp_path}", "--runs=cifar10"]
    )
    results = json.loads((tmp_path / "accelerator.json").read_text())
    assert set(results) >= set(accelerator.PARTS)
    assert results["left_out"] == []
    assert results["failed"] == {}
    for row in results["flow"]:
        assert row["share_of_product"] == pytest.approx(row["flops"] / row["seconds"] / 4e9)
    for row in results["training"]:
        assert row["hours"] == pytest.approx(row["seconds"] * row["num_steps"] / 3600)
        assert row["num_steps"] == 100_000
    assert all(row["extrapolated"] and row["measured"] == 8 for row in results["samples"])
    assert sum(results["profile"]["kinds"].values()) > 0
    assert 0 < results["profile"]["busy_share"] <= 1
    assert "extrapolated from 8" in capsys.readouterr().out


def test_parts_are_left_out_when_time_is_over(tmp_path, capsys, fast_rates):
    accelerator.main(["--smoke", "--minutes=0", f"--out={tmp_path}"])
    assert json.loads((tmp_path / "accelerator.json").read_text())["left_out"] == list(accelerator.PARTS)
    assert "flow: left out, the time is over" in capsys.readouterr().out


def test_a_part_that_fails_leaves_the_others(tmp_path, monkeypatch, capsys):
    def fail(options, results):
        raise MemoryError("no room")

    monkeypatch.setattr(accelerator, "PARTS", {"flow": fail, "samples": lambda options, results: [{"seconds": 3}]})
    with pytest.raises(SystemExit, match="failed: flow"):
        accelerator.main([f"--out={tmp_path}"])
    results = json.loads((tmp_path / "accelerator.json").read_text())
    assert results["failed"] == {"flow": "MemoryError: no room"}
    assert results["samples"] == [{"seconds": 3}]
    assert "in fail" in capsys.readouterr().err


def test_the_shell_script_is_well_formed():
    subprocess.run(["bash", "-n", ROOT / "benchmarks" / "speed" / "accelerator.sh"], check=True)
