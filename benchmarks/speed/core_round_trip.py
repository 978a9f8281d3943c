"""The time that a byte takes from one processor core to another and back.

`round_trip` runs this file by its path in a new interpreter: that one forks, so it must not have imported JAX.
"""

import mmap
import os
import subprocess
import sys
import time

TRIPS = 20_000


def round_trip() -> float | None:
    """Return the microseconds of a round trip between two Python processes on two cores.

    About 0.15 of them are Python's. None on a single core, and where a process cannot be pinned to a core.
    """
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        return None
    # Isolated, so that the modules in the folder of this file do not hide those of the standard library.
    answer = subprocess.run([sys.executable, "-I", __file__], check=True, capture_output=True, text=True)
    return float(answer.stdout)


def _measure() -> float:
    """Return the microseconds of a round trip between this process and a fork of it, each pinned to a core."""
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
    start = time.perf_counter()
    for _ in range(TRIPS):
        ball[0] = 1
        while ball[0] != 0:
            pass
    elapsed = time.perf_counter() - start
    os.waitpid(child, 0)
    return elapsed / TRIPS * 1e6


if __name__ == "__main__":
    print(_measure())
