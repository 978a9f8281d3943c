"""Time and GFLOP/s of a flow step inside a scan, compared with the same step by itself.

    python -m benchmarks.speed.flow [--network=digits|fashion|cifar10|all] [--batch_size=N] [--num_steps=N] [--rounds=N]

Three forms of the same step are run in turn, and medians over the rounds are printed: `outside`, one compiled step by
itself; `inside`, a scan of `--num_steps` steps, per step; `plain`, the same scan with XLA's own input gradient of a
convolution. FLOPs are XLA's count of `plain`. The aim is that `inside` reaches at least 80% of the speed of `outside`.
"""

import argparse
import statistics
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp

from benchmarks.common import arguments
from benchmarks.common.environment import describe
from benchmarks.speed.timing import seconds
from fdrl_jax import flow, models
from fdrl_jax.divergences import CHI2
from fdrl_jax.models import layers
from fdrl_jax.models.conv import plain_conv2d
from fdrl_jax.types import Params
from fdrl_jax.utils import rng
from fdrl_jax.utils.compilation import Program


class Network(NamedTuple):
    """A residual network, and a load that takes about a minute on two CPU cores."""

    event_shape: tuple[int, ...]
    stem: int
    stages: tuple[models.Stage, ...]
    batch_size: int
    num_steps: int
    rounds: int


def _stages(*table: tuple[int, int, int]) -> tuple[models.Stage, ...]:
    return tuple(models.Stage(*row) for row in table)


NETWORKS = {
    "digits": Network((8, 8, 1), 32, _stages((32, 1, 2), (64, 1, 1), (64, 1, 2)), 64, 20, 15),
    "fashion": Network((28, 28, 1), 16, _stages((32, 1, 2), (64, 1, 2), (64, 2, 2)), 64, 20, 7),
    "cifar10": Network((32, 32, 3), 128, _stages((128, 3, 1), (256, 3, 2), (256, 3, 2), (256, 3, 2)), 4, 4, 5),
}


def measure(name: str, network: Network) -> None:
    """Time the three forms of a flow step of `network`, and print a line for each."""
    event_shape, stem, stages, batch_size, num_steps, rounds = network
    estimator = models.estimator(models.ResNet(stem, stages, head_bias=1.0), event_shape, "ratio")
    params = estimator.init(jax.random.key(0))
    keys = rng.per_sample(jax.random.key(1), batch_size)
    x = rng.uniform(keys, event_shape, -1.0, 1.0)

    def dynamics(params: Params) -> flow.Dynamics:
        f_prime = CHI2.output_derivative("ratio")
        return flow.Dynamics(ratio_fn=estimator.ratio_fn(params), f_prime=f_prime, step_size=3.0, noise=1e-2)

    def inside(params: Params, x: jax.Array) -> jax.Array:
        return flow.simulate(keys, x, num_steps=num_steps, **dynamics(params))

    outside = (
        Program(lambda params, x: flow.step(keys, x, jnp.asarray(0), **dynamics(params))).lower(params, x).compile()
    )
    scan = Program(inside).lower(params, x).compile()
    with mock.patch.object(layers, "conv2d", lambda x, kernel, stride, _: plain_conv2d(x, kernel, stride)):
        # A new function, because jit would reuse the trace of `inside`, made before the patch.
        plain = Program(lambda params, x: inside(params, x)).lower(params, x).compile()

    forms = {
        "outside": lambda: seconds(lambda: outside(params, x)),
        "inside": lambda: seconds(lambda: scan(params, x)) / num_steps,
        "plain": lambda: seconds(lambda: plain(params, x)) / num_steps,
    }
    times: dict[str, list[float]] = {form: [] for form in forms}
    for round_ in range(rounds + 1):
        for form, run in forms.items():
            elapsed = run()
            if round_:  # The first round warms up and is not counted.
                times[form].append(elapsed)
    median = {form: statistics.median(values) for form, values in times.items()}
    gflop = (plain.cost_analysis() or {})["flops"] / 1e9
    print(f"{name}, batch {batch_size}, {gflop:.2f} GFLOP a step, {num_steps} steps a scan, {rounds} rounds")
    for form, value in median.items():
        share = median["outside"] / value
        print(f"  {form:8} {value * 1e3:9.2f} ms a step {gflop / value:8.1f} GFLOP/s {share:7.0%} of outside")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=[*NETWORKS, "all"], default="digits")
    for size in ("batch_size", "num_steps", "rounds"):
        parser.add_argument(f"--{size}", type=arguments.count, help="default: about a minute on two CPU cores")
    options = parser.parse_args(argv)
    print(describe())
    for name in NETWORKS if options.network == "all" else [options.network]:
        changes = {k: v for k, v in vars(options).items() if k != "network" and v is not None}
        measure(name, NETWORKS[name]._replace(**changes))


if __name__ == "__main__":
    main()
