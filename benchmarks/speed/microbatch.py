"""Time and memory of one training step by `train.microbatch`: with the whole batch, and in parts.

    python -m benchmarks.speed.microbatch [--network=celeba64] [--batch_size=N] [--num_steps=K] [--rounds=N]

Uses one device. The sizes are run in turn, and the median times and their ratios to that of the whole batch are
printed. Memory is what the compiled step needs besides its arguments and results, as XLA reports it. On a CPU parts are
several times slower, because XLA has no fast gradient of a kernel inside a loop there (docs/scale.md).
"""

import argparse
import functools
import statistics

from benchmarks.common import arguments, cases
from benchmarks.common.environment import describe
from benchmarks.speed.timed_calls import TimedCalls
from benchmarks.speed.timing import interleaved, seconds


def parts_of(batch_size: int) -> list[int]:
    """Return the sizes to measure: 0 for the whole batch, then its half, quarter, ... as long as they are integers."""
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
    parser.add_argument("--smoke", action="store_true", help="a tiny network, to see that everything runs")
    options = parser.parse_args(argv)
    print(describe())
    case = cases.case(options.network, cases.Load(options.batch_size, options.num_steps, 0), small=options.smoke)
    calls = {}
    for size in parts_of(options.batch_size):
        calls[size] = TimedCalls(case.with_recipe(microbatch=size))
    runs = {str(size): functools.partial(seconds, timed.train_step) for size, timed in calls.items()}
    times = {name: statistics.median(values) for name, values in interleaved(runs, options.rounds).items()}
    print(f"{options.network}, batch {options.batch_size}, K = {options.num_steps}")
    for size, timed in calls.items():
        median = times[str(size)]
        print(
            f"  microbatch {size or 'of all':>6}: {median * 1e3:8.1f} ms a step ({median / times['0']:.2f} times), "
            f"{timed.step_memory() / 2**20:8.2f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
