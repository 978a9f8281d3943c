"""The time of a training step on 1 to 256 chips, by a model instead of a measurement.

    python -m benchmarks.speed.scaling [--flops_rate=4e14] [--flow_latency=3e-4] [--host_chips=8] [--host_rate=3e11]
                                       [--network_rate=5e10] [--latency=1e-5]

A step on N chips with b examples each takes

    K max(b F / R, L) + b G / R + 2 (N - 1) / N P / B + 2 log2(N) a

F and G are the FLOPs of a flow step and of the loss with its gradient for one example, R the FLOP/s a chip reaches, L
the time of a flow step that is too small to occupy the chip, P the bytes of the gradient in float32, B the slowest
link's bytes/s and a its latency. The flow needs no communication. The one all-reduce of gradients comes after the
backward pass and is assumed not to overlap with it. Adam, EMA, draws from the prior and the data pipeline are left out:
they take about a percent, or are done before they are needed.
"""

import argparse
import math
from typing import NamedTuple

from benchmarks.common import arguments, cases
from benchmarks.speed import floors

CHIPS = (1, 8, 64, 256)
BATCH_SIZE = 64


class Machine(NamedTuple):
    """The assumptions about chips and the links between them.

    Attributes:
      flops_rate: FLOP/s that a chip reaches. The default is 40% of an H100's rate in bfloat16 by its data sheet.
      flow_latency: seconds of a flow step of few examples: about a hundred kernels of 3 us.
      host_chips: number of chips in a host.
      host_rate, network_rate: bytes/s of a chip's link within a host and to another host.
      latency: seconds of one step of the all-reduce.
    """

    flops_rate: float = 4e14
    flow_latency: float = 3e-4
    host_chips: int = 8
    host_rate: float = 3e11
    network_rate: float = 5e10
    latency: float = 1e-5


def all_reduce_seconds(machine: Machine, num_bytes: float, chips: int) -> float:
    """Return the seconds of an all-reduce of `num_bytes` among `chips` chips."""
    if chips == 1:
        return 0.0
    rate = machine.host_rate if chips <= machine.host_chips else machine.network_rate
    return 2 * (chips - 1) / chips * num_bytes / rate + 2 * math.log2(chips) * machine.latency


def step_seconds(machine: Machine, layers: list[floors.Layer], batch_size: float, num_steps: int, chips: int) -> float:
    """Return the seconds of a training step with `batch_size` examples on each chip."""
    flow = floors.flow_step(layers, 1).flops * batch_size / machine.flops_rate
    loss = floors.train_step(layers, 1, 0).flops * batch_size / machine.flops_rate
    gradient = floors.FLOAT * floors.parameters(layers)
    return num_steps * max(flow, machine.flow_latency) + loss + all_reduce_seconds(machine, gradient, chips)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in Machine()._asdict().items():
        kind = arguments.not_negative if name.endswith("latency") else arguments.positive
        parser.add_argument(f"--{name}", type=arguments.count if name == "host_chips" else kind, default=value)
    machine = Machine(**vars(parser.parse_args(argv)))
    print(f"assumed: {machine}")
    print(f"{'network':9} {'chips':>5}  {'64 a chip: ms':>14}{'efficiency':>12}  {'64 in all: ms':>14}{'speed-up':>10}")
    for name in ("cifar10", "celeba64", "lsun128"):
        config = cases.CONFIGS[name]().to_dict()
        size = config["data"]["image_size"]
        layers, k = floors.layers(config["model"], (size, size, 3)), config["flow"]["num_steps"]
        one = step_seconds(machine, layers, BATCH_SIZE, k, 1)
        for chips in CHIPS:
            weak = step_seconds(machine, layers, BATCH_SIZE, k, chips)
            strong = f"{'-':>14}{'-':>10}"
            if chips <= BATCH_SIZE:
                seconds = step_seconds(machine, layers, BATCH_SIZE / chips, k, chips)
                strong = f"{seconds * 1e3:>14.1f}{one / seconds:>10.1f}"
            print(f"{name:9} {chips:>5}  {weak * 1e3:>14.1f}{one / weak:>12.1%}  {strong}")


if __name__ == "__main__":
    main()
