"""How far apart two cores are, and what a flow step of the toy network takes meanwhile.

    python -m benchmarks.cores [--seconds=60] [--devices=N]

On a shared virtual machine the distance of its processors changes every few seconds: a round trip of 0.2 us, or 0.5 as
if they were on two chips. A flow step of small products hands its data from core to core several times in a tenth of a
millisecond and then takes twice as long; large products hardly notice, nor does PyTorch, whose rows stay on their core.
`--devices=2` gives each core its own half of the particles. Linux only, as others do not pin a process to a core.
"""

import argparse
import math
import mmap
import os
import statistics
import subprocess
import sys
import time

TRIPS = 20_000


def round_trip() -> float | None:
    """Microseconds that a byte takes from one core to another and back, between two Python processes, one of them new.

    About 0.15 of them are Python's. None where there is one core or none can be chosen.
    """
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return None
    answer = subprocess.run([sys.executable, __file__, "--play"], check=True, capture_output=True, text=True)
    return float(answer.stdout)


def _play() -> float:
    """`round_trip` between two pinned processes, in an interpreter that nothing else was imported into, as it forks."""
    near, far = sorted(os.sched_getaffinity(0))[:2]
    ball = mmap.mmap(-1, mmap.PAGESIZE)
    child = os.fork()
    os.sched_setaffinity(0, {far if child == 0 else near})
    if child == 0:
        for _ in range(TRIPS):
            while ball[0] != 1:
                pass
            ball[0] = 0
        os._exit(0)
    begun = time.perf_counter()
    for _ in range(TRIPS):
        ball[0] = 1
        while ball[0] != 0:
            pass
    taken = time.perf_counter() - begun
    os.waitpid(child, 0)
    return taken / TRIPS * 1e6


def main(argv: list[str] | None = None) -> None:
    # Not at the top: `round_trip` starts this file by its path, from where the package is not found.
    from benchmarks import arguments

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=arguments.count, default=60)
    parser.add_argument("--devices", type=arguments.count, default=1)
    options = parser.parse_args(argv)
    import jax

    jax.config.update("jax_num_cpu_devices", options.devices)
    from benchmarks import cases, ours
    from benchmarks.environment import describe

    print(describe())
    load = cases.CPU["toy"]
    flow = ours.Ours(cases.case("toy", load)).flow
    flow()
    for _ in range(options.seconds):
        times, end = [], time.perf_counter() + 0.8
        while time.perf_counter() < end:
            times.append(ours.seconds(flow))
        step = statistics.median(times) / load.num_steps * 1e3
        print(f"round trip {round_trip() or math.nan:.2f} us, flow step {step:.3f} ms", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--play"]:
        print(_play())
    else:
        main()
