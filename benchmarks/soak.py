"""Does a long run grow? Memory, open files and threads of this process while it trains.

    python -m benchmarks.soak [--steps=2000] [--every=100]

A small network on the digits, with a line of the log and a picture every few steps and checkpoints and diagnostics
between: far more often than in a real run. Prints a row each `--every` steps, and then how much each figure grows a
thousand steps after the first 30% (JAX compiles, pools and caches fill). For open files and threads, which a save that
is under way raises, that is the median slope between rows (Theil and Sen). For memory it is the mean of the differences
between rows, without the tenth of them that are largest and the tenth that are smallest: the allocator may give back a
hundred MiB at once, which would hide a leak. Exit code 1 where memory grows by more than 8 MiB a thousand steps, or
open files or threads by more than 1.
"""

import argparse
import pathlib
import sys
import tempfile
import time
from dataclasses import dataclass

import numpy as np
from ml_collections import ConfigDict
from scipy import stats

from benchmarks.environment import describe
from configs import digits
from fdrl_jax.train import train

# Growth a thousand steps that is still flat. Memory moves up and down by a few MiB as the allocator likes.
ALLOWED = {"memory": 8.0, "files": 1.0, "threads": 1.0}
WARM_UP = 0.3


@dataclass(frozen=True)
class Row:
    """What /proc says of this process after `step` steps; memory is resident, in MiB."""

    step: int
    memory: float
    files: int
    threads: int


def look(step: int) -> Row:
    process = pathlib.Path("/proc/self")
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    files = len(list((process / "fd").iterdir()))
    return Row(step, int(lines["VmRSS"].split()[0]) / 1024, files, int(lines["Threads"]))


def config_of(steps: int) -> ConfigDict:
    config = digits.get_config()
    config.data.batch_size, config.flow.num_steps = 16, 3
    config.model.stem, config.model.stages = 4, ((4, 1, 1), (8, 1, 2))
    config.diagnostics.update(every=100, num_samples=32)
    config.train.update(num_steps=steps, log_every=5, sample_every=20, checkpoint_every=20, keep=2)
    return config


def growth(rows: list[Row]) -> dict[str, float]:
    """Of each figure, a thousand steps, after the warm-up."""
    kept = [row for row in rows if row.step > WARM_UP * rows[-1].step]
    steps = [row.step for row in kept]
    differences = np.diff([row.memory for row in kept])
    found = {"memory": float(stats.trim_mean(differences, 0.1) * 1000 / (steps[1] - steps[0]))}
    for name in ("files", "threads"):
        found[name] = float(stats.theilslopes([getattr(row, name) for row in kept], steps).slope * 1000)
    return found


def soak(workdir: pathlib.Path, steps: int, every: int) -> list[Row]:
    """Train in `workdir` and print a row each `every` steps."""
    done, rows = 0, []
    print(f"{'step':>6} {'MiB':>8} {'files':>6} {'threads':>8}")

    def ask() -> int:
        nonlocal done
        done += 1
        if done % every == 0:
            rows.append(look(done))
            row = rows[-1]
            print(f"{row.step:6} {row.memory:8.1f} {row.files:6} {row.threads:8}", flush=True)
        return 0

    train(config_of(steps), workdir, progress=False, stop=ask)
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=100)
    options = parser.parse_args(argv)
    print(describe())
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows = soak(pathlib.Path(folder) / "run", options.steps, options.every)
    grown = growth(rows)
    print(f"{time.monotonic() - start:.0f} s; a thousand steps bring")
    for name, value in grown.items():
        verdict = "flat" if value <= ALLOWED[name] else f"NOT flat, more than {ALLOWED[name]:g}"
        print(f"  {name:8} {value:+8.2f}   {verdict}")
    return int(any(value > ALLOWED[name] for name, value in grown.items()))


if __name__ == "__main__":
    sys.exit(main())
