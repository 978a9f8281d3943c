"""Test that a long training run does not leak: its memory, open files and threads stay flat.

    python -m benchmarks.robustness.soak [--steps=2000] [--every=100]

Trains a small network on the digits, and writes logs, pictures, checkpoints and diagnostics far more often than a real
run. Prints a row every `--every` steps, and then the growth of each figure in a thousand steps. The first 30% of the
steps are left out, in which JAX compiles, and pools and caches fill. For open files and threads, which are higher while
a checkpoint is saved, growth is the median slope between rows (Theil-Sen). For memory it is the mean difference of
successive rows without the largest tenth and the smallest tenth of them, because the allocator may free a hundred MiB
at once, which would hide a leak. The exit code is 1 if memory grows by more than 8 MiB in a thousand steps, or open
files or threads by more than 1.
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

from benchmarks.common.environment import describe
from configs import digits
from fdrl_jax.training.loop import train

# Growth in a thousand steps that counts as flat. The allocator moves memory up and down by a few MiB.
ALLOWED = {"memory": 8.0, "files": 1.0, "threads": 1.0}
WARM_UP = 0.3  # share of the steps that is left out


@dataclass(frozen=True)
class Row:
    """The state of this process by /proc.

    Attributes:
      step: number of training steps made.
      memory: resident memory in MiB.
      files: number of open files.
      threads: number of threads.
    """

    step: int
    memory: float
    files: int
    threads: int


def read_process(step: int) -> Row:
    """Return the present state of this process, after `step` training steps."""
    process = pathlib.Path("/proc/self")
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    files = len(list((process / "fd").iterdir()))
    return Row(step, int(lines["VmRSS"].split()[0]) / 1024, files, int(lines["Threads"]))


def config_of(steps: int) -> ConfigDict:
    """Return the config of a small run with frequent logs, pictures, checkpoints and diagnostics."""
    config = digits.get_config()
    config.data.batch_size, config.flow.num_steps = 16, 3
    config.model.stem, config.model.stages = 4, ((4, 1, 1), (8, 1, 2))
    config.diagnostics.update(every=100, num_samples=32)
    config.train.update(num_steps=steps, log_every=5, sample_every=20, checkpoint_every=20, keep=2)
    return config


def growth(rows: list[Row]) -> dict[str, float]:
    """Return the growth of each figure in a thousand steps, after the warm-up."""
    kept = [row for row in rows if row.step > WARM_UP * rows[-1].step]
    steps = [row.step for row in kept]
    differences = np.diff([row.memory for row in kept])
    slopes = {"memory": float(stats.trim_mean(differences, 0.1) * 1000 / (steps[1] - steps[0]))}
    for name in ("files", "threads"):
        slopes[name] = float(stats.theilslopes([getattr(row, name) for row in kept], steps).slope * 1000)
    return slopes


def soak(workdir: pathlib.Path, steps: int, every: int) -> list[Row]:
    """Train in `workdir`; print a row every `every` steps, and return the rows."""
    done, rows = 0, []
    print(f"{'step':>6} {'MiB':>8} {'files':>6} {'threads':>8}")

    def watch() -> int:
        nonlocal done
        done += 1
        if done % every == 0:
            rows.append(read_process(done))
            row = rows[-1]
            print(f"{row.step:6} {row.memory:8.1f} {row.files:6} {row.threads:8}", flush=True)
        return 0

    # `stop` is asked after every step; 0 lets training go on.
    train(config_of(steps), workdir, progress=False, stop=watch)
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="number of training steps")
    parser.add_argument("--every", type=int, default=100, help="steps between rows")
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
