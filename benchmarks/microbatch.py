"""What `train.microbatch` costs in time and spares in memory: one training step, whole and in parts.

    python -m benchmarks.microbatch [--network=celeba64] [--batch_size=N] [--num_steps=K] [--rounds=N]

One device. Memory is what the compiled step needs besides its arguments and results, by XLA's own account. Medians in
turn, and the ratio to the whole batch. On a CPU parts are several times slower: XLA has no fast gradient of a kernel
inside a loop there (docs/scale.md).
"""

import argparse
import dataclasses
import functools
import statistics

from benchmarks import arguments, cases, ours
from benchmarks.__main__ import interleaved
from benchmarks.environment import describe


def parts_of(batch_size: int) -> list[int]:
    """The whole, as 0, then its halves, quarters, ... that are whole numbers."""
    parts, size = [0], batch_size
    while size % 2 == 0:
        size //= 2
        parts.append(size)
    return parts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=cases.CONFIGS, default="celeba64")
    parser.add_argument("--batch_size", type=arguments.count, default=16)
    parser.add_argument("--num_steps", type=arguments.count, default=5)
    parser.add_argument("--rounds", type=arguments.count, default=5)
    parser.add_argument("--smoke", action="store_true", help="a tiny network: does it run?")
    options = parser.parse_args(argv)
    print(describe())
    case = cases.case(options.network, cases.Load(options.batch_size, options.num_steps, 0), small=options.smoke)
    sides = {}
    for size in parts_of(options.batch_size):
        recipe = dataclasses.replace(case.experiment.recipe, microbatch=size)
        experiment = dataclasses.replace(case.experiment, recipe=recipe)
        sides[size] = ours.Ours(dataclasses.replace(case, experiment=experiment))
    runs = {str(size): functools.partial(ours.seconds, side.train_step) for size, side in sides.items()}
    times = {name: statistics.median(values) for name, values in interleaved(runs, options.rounds).items()}
    print(f"{options.network}, batch {options.batch_size}, K = {options.num_steps}")
    for size, side in sides.items():
        seconds = times[str(size)]
        print(
            f"  microbatch {size or 'of all':>6}: {seconds * 1e3:8.1f} ms a step ({seconds / times['0']:.2f} times), "
            f"{side.step_memory() / 2**20:8.2f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
