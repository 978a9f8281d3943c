"""Show how the distance of two cores changes the time of a flow step of the toy network.

    python -m benchmarks.speed.cores [--seconds=60] [--devices=N]

On a shared virtual machine the two virtual cores are moved between physical ones every few seconds, and a round trip
between them takes 0.2 us, or 0.5 as if they were on two chips. A flow step of small products passes its data from core
to core several times in a tenth of a millisecond, and then takes twice as long. Large products are hardly slower, nor
is PyTorch, whose rows stay on their core. `--devices=2` gives each core half of the particles. Linux only, because
other systems cannot pin a process to a core.
"""

import argparse
import math
import statistics
import time

import jax

from benchmarks.common import arguments, cases
from benchmarks.common.environment import describe
from benchmarks.speed.core_round_trip import round_trip
from benchmarks.speed.timed_calls import TimedCalls
from benchmarks.speed.timing import seconds


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=arguments.count, default=60, help="lines to print, one a second")
    parser.add_argument("--devices", type=arguments.count, default=1, help="CPU devices of JAX")
    options = parser.parse_args(argv)
    jax.config.update("jax_num_cpu_devices", options.devices)
    print(describe())
    load = cases.CPU["toy"]
    flow = TimedCalls(cases.case("toy", load)).flow
    flow()
    for _ in range(options.seconds):
        times, end = [], time.perf_counter() + 0.8
        while time.perf_counter() < end:
            times.append(seconds(flow))
        step = statistics.median(times) / load.num_steps * 1e3
        print(f"round trip {round_trip() or math.nan:.2f} us, flow step {step:.3f} ms", flush=True)


if __name__ == "__main__":
    main()
