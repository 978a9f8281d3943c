"""Wall-clock times of calls."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

# Seconds of rest before each run. When PyTorch or JAX has finished, its threads keep spinning for some milliseconds on
# the cores that the other one needs.
REST = 0.1
# A run of less than SHORT seconds is done twice, and the second counts: after the rest, threads must be woken and
# caches are cold.
SHORT = 0.5


def seconds(function: Callable[[], Any]) -> float:
    """Return the seconds until the arrays that `function` returns are computed."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def interleaved(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure several calls in turn, so that a change of the machine's load affects all of them alike.

    Args:
      runs: calls by name, each of which returns its own time in seconds.
      rounds: number of measurements of each, after a first round that compiles and warms up and is not counted.

    Returns:
      The `rounds` times of each call, in seconds.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(rounds + 1):
        for name, run in runs.items():
            time.sleep(REST)
            elapsed = run()
            if elapsed < SHORT:
                elapsed = run()
            if round_:
                times[name].append(elapsed)
    return times
