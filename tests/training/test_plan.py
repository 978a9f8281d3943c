"""`--mode=plan`: FLOPs from the compiled program, bytes from shapes, images from disk."""

import math

import jax
import pytest
import shrink

from configs import cifar10, emoji64, gaussians
from fdrl_jax import cli
from fdrl_jax.models import winograd
from fdrl_jax.training import plan as planning


@pytest.fixture(scope="module")
def tiny():
    return planning.plan(shrink.tiny_digits())


def test_flops_are_those_of_the_convolutions(tiny):
    # Multiply-adds of tiny_digits' network on 8x8x1, 2 FLOPs each: stem 4, a 4-wide block, an 8-wide one of stride 2.
    forward = 2 * 9 * (64 * (1 * 4 + 4 * 4 + 4 * 4) + 16 * (4 * 8 + 8 * 8)) + 2 * 16 * 4 * 8
    # A flow step is the network and its input gradient, which does the same multiplications again.
    expected = 16 * 2 * forward
    assert tiny.costs.flops_per_flow_step == pytest.approx(
        expected, rel=0.25
    )  # And LeakyReLU, noise, borders without zeros.


@pytest.mark.slow
def test_convolutions_are_counted_as_direct_ones(tiny, monkeypatch):
    """Whatever this machine's are: here all that may be are Winograd's."""
    monkeypatch.setattr(winograd, "_LEAST_CHANNELS", 1)
    jax.clear_caches()
    counted = planning.plan(shrink.tiny_digits())
    monkeypatch.undo()
    jax.clear_caches()
    assert (counted.costs.flops_per_flow_step, counted.costs.flops_per_step) == (
        tiny.costs.flops_per_flow_step,
        tiny.costs.flops_per_step,
    )
    assert counted.costs.workspace_bytes > tiny.costs.workspace_bytes


def test_the_flow_costs_k_times_its_step(tiny):
    longer = shrink.tiny_digits()
    longer.flow.num_steps = 103
    longer.flow.kappa = 7
    longer_plan = planning.plan(longer)
    assert longer_plan.costs.flops_per_step - tiny.costs.flops_per_step == pytest.approx(
        100 * tiny.costs.flops_per_flow_step
    )
    assert longer_plan.costs.flops_per_sample == pytest.approx(110 * tiny.costs.flops_per_flow_step / 16)
    assert longer_plan.flops_per_run == longer_plan.costs.flops_per_step * 4
    # The scan's body is compiled once: a longer flow takes no more memory.
    assert longer_plan.costs.workspace_bytes == pytest.approx(tiny.costs.workspace_bytes, rel=0.05)


def test_without_the_flow_a_step_costs_no_flow():
    stale, guided = (planning.plan(shrink.shrink(gaussians.get_config(v))) for v in ("near-stale", "far-fdrl"))
    flows = guided.costs.flops_per_step - stale.costs.flops_per_step
    assert flows == pytest.approx(3 * guided.costs.flops_per_flow_step, rel=0.1)


def test_bytes_are_those_of_the_arrays(tiny):
    # Parameters, EMA and Adam's two moments in float32, and two counters.
    assert tiny.costs.state_bytes == pytest.approx(4 * 4 * tiny.costs.parameters, abs=16)
    assert tiny.prior_bytes == 4 * (64 + 64**2)
    assert (tiny.images, tiny.cache_bytes) == (None, 0)
    assert tiny.prior_placement.startswith("on one device")


@pytest.mark.slow
def test_images_are_counted_where_they_are_and_known_where_they_are_not(tmp_path):
    here = planning.plan(shrink.shrink(emoji64.get_config(), folder=tmp_path))
    assert (here.images, here.images_found, here.cache_bytes) == (24, True, 24 * 16 * 16 * 3)
    config = shrink.shrink(cifar10.get_config("uniform-lr-kl"), folder=tmp_path / "cifar")
    config.data.path = str(tmp_path / "nothing")
    missing = planning.plan(config)
    assert (missing.images, missing.images_found, missing.cache_bytes) == (50_000, False, 50_000 * 32 * 32 * 3)
    assert "50,000 (published; not here yet)" in "\n".join(missing.lines(1e12, "given"))


def test_time_is_flops_over_the_rate(tiny):
    lines = tiny.lines(tiny.flops_per_run / 7200, "given")
    assert any(line.startswith("time") and " 2 h to train" in line and "(given)" in line for line in lines)


@pytest.mark.slow
def test_the_rate_is_measured(tmp_path):
    rate = planning.measured_rate(shrink.tiny_digits(), rounds=1)
    assert math.isfinite(rate)
    assert rate > 1e6


def test_the_program_prints_it_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.py"
    config = shrink.tiny_digits().to_dict()
    path.write_text(f"from ml_collections import ConfigDict\n\ndef get_config():\n    return ConfigDict({config})\n")
    assert cli.run(["main.py", "--mode=plan", f"--config={path}", "--flops_rate=1e12"]) == 0
    out = capsys.readouterr().out
    for word in (
        "parameters ",
        "GFLOP a flow step of 16",
        "K = 3",
        "0.02 MiB prior",
        "time ",
        "as given by --flops_rate",
    ):
        assert word in out
    assert list(tmp_path.iterdir()) == [path]
