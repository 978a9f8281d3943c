"""The comparison with PyTorch. Tests that need PyTorch are run by `make test-parity`.

Covers: `speed.pytorch.exchange`, `speed.pytorch.forms`, `speed.pytorch.networks`, `speed.pytorch.process`,
`speed.pytorch.server`.
"""

import json
import math
import os
import re

import jax
import numpy as np
import pytest
from paths import ROOT

from benchmarks.common import cases
from benchmarks.speed import comparison, timed_calls
from benchmarks.speed.pytorch import exchange
from benchmarks.speed.pytorch.process import TorchError, TorchProcess


def test_the_largest_difference_is_relative_to_the_largest_entry():
    x = np.ones((2, 2), np.float32)
    same = {"x": x, "moments/a": np.full(3, 1e-9, np.float32)}
    other = {"x": x, "moments/a": np.array([1e-9, 1e-9, 2e-9], np.float32)}
    assert exchange.largest_difference(same, same, 0 * x) == 0
    assert exchange.largest_difference(same, other, 0 * x) == pytest.approx(1)
    # The difference of particles is divided by how far they moved, even if that is little.
    moved = {"x": x + np.float32(1e-3)}
    assert exchange.largest_difference(moved, {"x": x}, x) == pytest.approx(1)
    with pytest.raises(ValueError, match="moments/a"):
        exchange.largest_difference(same, {"x": x}, x)


@pytest.mark.slow
def test_weights_that_are_compared_are_near_their_spectral_norm():
    case = cases.case("cifar10", cases.SMOKE["cifar10"], small=True)
    state = timed_calls.settled_state(case)
    effective = case.experiment.method.recipe.estimator.effective(state.params, state.spectral)
    kernel = np.asarray(effective["stage0_block0"]["conv1"]["kernel"])
    assert np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2) == pytest.approx(1, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["toy", "cifar10"])
def test_noiseless_results_do_not_depend_on_keys(name):
    case = cases.case(name, cases.SMOKE[name], small=True)
    first, second = timed_calls.TimedCalls(case), timed_calls.TimedCalls(case)
    second.root = jax.random.key(99)
    a, b = exchange.results(first), exchange.results(second)
    assert exchange.largest_difference(a, b, np.asarray(case.particles())) == 0
    assert np.abs(a["x"] - np.asarray(case.particles())).max() > 0


@pytest.mark.parity
def test_pytorch_gives_the_same_results(tmp_path):
    out = tmp_path / "table.json"
    python = os.environ["FDRL_TORCH_PYTHON"]
    flags = ["--smoke", "--networks=toy,digits,cifar10,lsun128", f"--torch_python={python}", f"--out={out}"]
    comparison.main([*flags, "--no-compile"])
    results = json.loads(out.read_text())
    compared = [row for row in results["rows"] if row["row"] == "training step"]
    assert len(compared) == 4
    for row in compared:
        for form in ("authors", "strong"):
            assert row["differences"][form] < 1e-5, row["network"]
            assert math.isfinite(row["ratios"][form])


@pytest.mark.parity
def test_an_error_of_the_pytorch_process_is_one_line():
    with TorchProcess(os.environ["FDRL_TORCH_PYTHON"]) as torch, pytest.raises(TorchError, match="compare: "):
        torch.ask("compare", form="authors", out="/nowhere")


def test_the_pytorch_process_imports_neither_jax_nor_the_package():
    for name in ("process", "server", "forms", "networks", "__init__"):
        text = (ROOT / "benchmarks" / "speed" / "pytorch" / f"{name}.py").read_text()
        assert not re.search(r"^\s*(from|import) (jax|fdrl_jax)", text, re.MULTILINE), name
