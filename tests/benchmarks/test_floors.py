"""Floors are compared with values computed by hand and with XLA's count.

Covers: `speed.floors`.
"""

import pytest

from benchmarks.common import cases
from benchmarks.speed import floors
from fdrl_jax.training import plan

# One block with a shortcut and one without, for images of 4x4x2.
TINY = {"name": "resnet", "stem": 3, "stages": ((5, 2, 2),)}


def test_layers_are_those_computed_by_hand():
    table = floors.layers(TINY, (4, 4, 2))
    # A 3x3 kernel on 4x4 pixels has 16 outputs of 9 products each. Without those with the padding, 10 of 12 remain in
    # each direction. With stride 2 the windows start at -1 and 1: 2 + 3 products. On 2x2 pixels: 2 + 2.
    stem, conv1, conv2, shortcut, conv3, conv4, head = table
    assert stem == floors.Layer(10 * 10 * 2 * 3, 9 * 2 * 3, 4 * 4 * 2, 4 * 4 * 3)
    assert conv1 == floors.Layer(5 * 5 * 3 * 5, 9 * 3 * 5, 4 * 4 * 3, 2 * 2 * 5)
    assert conv2 == conv3 == conv4 == floors.Layer(4 * 4 * 5 * 5, 9 * 5 * 5, 2 * 2 * 5, 2 * 2 * 5)
    assert shortcut == floors.Layer(2 * 2 * 3 * 5, 3 * 5, 4 * 4 * 3, 2 * 2 * 5)
    assert head == floors.Layer(5, 6, 5, 1)


def test_floors_of_rows_are_those_computed_by_hand():
    layers = floors.layers({"name": "mlp", "width": (3,)}, (2,))
    assert layers == [floors.Layer(6, 9, 2, 3), floors.Layer(3, 4, 3, 1)]
    assert floors.parameters(layers) == 13
    step = floors.flow_step(layers, 10)
    assert step == (2 * 2 * 10 * 9, 4 * (13 + 2 * 10 * 2))
    # Two batches. A layer has three products (forward, weight gradient, input gradient); the first layer has only two,
    # because the gradient of its input is not needed.
    loss = 2 * 2 * 10 * (3 * 9 - 6)
    assert floors.train_step(layers, 10, 7) == (7 * step.flops + loss, 7 * step.bytes + 9 * 4 * 13)
    assert floors.sampling(layers, 10, 7) == (7 * step.flops, 7 * step.bytes)
    assert floors.layered_bytes(layers, 10) == 2 * 4 * (10 * (2 + 3 + 3 + 1) + 13)
    assert floors.prior_fit(100, 6, 0) == (100 * 36 + 72, 600 + 4 * 21)
    assert floors.prior_fit(100, 6, 2) == (2 * 2 * 100 * 6 * 2, 2 * 600 + 4 * 12)
    assert floors.prior_draw(10, 6, 0) == (2 * 10 * 21, 4 * (21 + 60))
    assert floors.prior_draw(10, 6, 2) == (2 * 10 * 12, 4 * (12 + 60))
    assert floors.data_batch(10, 12) == (0, 240)
    assert floors.checkpoint(13) == (0, 2 * 4 * 4 * 13)


def test_a_floor_takes_as_long_as_its_slower_half():
    assert floors.Floor(100, 30).seconds(flops_rate=10, byte_rate=10) == 10
    assert floors.Floor(100, 300).seconds(flops_rate=10, byte_rate=10) == 30


@pytest.mark.slow
@pytest.mark.parametrize("name", ["celeba64", pytest.param("cifar10", marks=pytest.mark.slow)])
def test_flops_are_those_that_xla_counts(name):
    case = cases.case(name, cases.Load(2, 10, 0))
    layers = floors.layers(case.model, case.event_shape)
    costs = plan.plan(case.experiment.config).costs
    assert floors.parameters(layers) == costs.parameters
    # XLA also counts activation functions, noise, spectral norm and Adam, and the zeros of a dilated convolution.
    assert costs.flops_per_flow_step == pytest.approx(floors.flow_step(layers, 2).flops, rel=0.1)
    assert costs.flops_per_step == pytest.approx(floors.train_step(layers, 2, 10).flops, rel=0.1)


def test_the_floors_of_the_paper_are_printed(capsys):
    floors.main([])
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()[1:]}
    # The network has 11.4 M parameters and needs 3.8 GFLOP forward for an image, without the products with padding.
    assert rows["cifar10"][1] == "11,374,209"
    assert float(rows["cifar10"][2]) == pytest.approx(2 * 64 * 3.8, rel=0.02)
    assert set(rows) == set(cases.CONFIGS)
