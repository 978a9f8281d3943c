"""The smaller benchmarks of speed in miniature.

Covers: `speed.convolutions`, `speed.flow`, `speed.microbatch`, `speed.noise`, `speed.rates`, `speed.scaling`.
"""

import re

import pytest

from benchmarks.speed import convolutions, floors, flow, microbatch, noise, rates, scaling


def test_the_scaling_model_adds_what_it_says(capsys):
    machine = scaling.Machine(
        flops_rate=1e3, flow_latency=0.01, host_chips=2, host_rate=1e4, network_rate=1e3, latency=0.5
    )
    layers = floors.layers({"name": "mlp", "width": (3,)}, (2,))
    flow, loss, gradient = 4 * 9, 4 * (3 * 9 - 6), 4 * 13
    assert scaling.step_seconds(machine, layers, 5, 7, 1) == pytest.approx((7 * 5 * flow + 5 * loss) / 1e3)
    all_reduce = scaling.step_seconds(machine, layers, 5, 7, 2) - scaling.step_seconds(machine, layers, 5, 7, 1)
    assert all_reduce == pytest.approx(gradient / 1e4 + 2 * 0.5)
    # Between hosts the slow link counts.
    assert scaling.all_reduce_seconds(machine, gradient, 4) == pytest.approx(2 * 3 / 4 * gradient / 1e3 + 4 * 0.5)
    # With too few examples the flow takes its latency.
    assert scaling.step_seconds(machine, layers, 0.1, 7, 1) == pytest.approx(7 * 0.01 + 0.1 * loss / 1e3)
    scaling.main([])
    assert len(capsys.readouterr().out.splitlines()) == 2 + 3 * len(scaling.CHIPS)


@pytest.mark.slow
def test_what_a_microbatch_costs_is_printed(capsys):
    microbatch.main(["--smoke", "--network=digits", "--batch_size=4", "--num_steps=2", "--rounds=1"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "microbatch" in line]
    assert [line[1] for line in lines] == ["of", "2:", "1:"]
    mib = [float(line[-2]) for line in lines]
    assert 0 < mib[-1] < mib[0]


def test_the_noise_that_is_timed_is_the_noise_of_jax():
    match = re.search(r"jax.random +([\d.]+) ns a number, rng +([\d.]+) .*; differ (.*)$", noise.measure("toy", 1))
    assert float(match[1]) > 0
    assert float(match[2]) > 0
    assert float(match[3]) < 1e-4  # of sums of 100 numbers


def test_a_convolution_is_timed_in_three_forms_that_agree():
    name, *operations = convolutions.measure(convolutions.Layer(1, 4, 2, 2, 1), rounds=1)
    assert name == "batch 1, side 4, c_in 2, c_out 2, stride 1"
    assert [line.split(" default ")[0].strip() for line in operations] == [
        "forward",
        "input gradient",
        "kernel gradient",
    ]
    for line in operations:
        assert "own " in line
        assert float(line.split("differ ")[1]) < 1e-4


@pytest.mark.slow
def test_a_flow_step_is_timed_in_three_forms(capsys):
    network = flow.Network((8, 8, 1), 2, flow.NETWORKS["digits"].stages[:1], batch_size=2, num_steps=2, rounds=1)
    flow.measure("tiny", network)
    head, *forms = capsys.readouterr().out.splitlines()
    assert head.startswith("tiny, batch 2, ")
    assert [line.split()[0] for line in forms] == ["outside", "inside", "plain"]


def test_rates_are_measured():
    assert rates.flops_rate("float32", small=True) > 0
    assert rates.byte_rate(small=True) > 0
