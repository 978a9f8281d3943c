"""Kill a training run again and again, and see that nothing of it is lost.

    python -m benchmarks.torture [--kills=50] [--steps=300] [--seed=0] [--small]

The real `main.py` is killed with SIGKILL at random moments: while it starts, writes the image cache, fits the prior,
trains, saves a checkpoint, or takes its checksums. The same command then goes on, and is killed again. Every few kills
a run is left to its end, and compared bit by bit with one that was not killed: parameters, EMA, optimiser state,
metrics.jsonl, and the best checkpoint; then another begins from nothing. Prints a line a kill and the count. Exit code
1 if a run ended otherwise. With --small, points instead of images: no cache and no fit, but seconds.
"""

import argparse
import collections
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np
from PIL import Image

from fdrl_jax import builders, checkpoint, sampling

ROOT = pathlib.Path(__file__).parents[1]
NUM_IMAGES = 1500
# A run is killed at most so often before it may end.
KILLS_A_RUN = 12
# A run is there only once: the first kill of each, in turn.
ONCE = ("prior", "cache")

IMAGES = """
from ml_collections import ConfigDict
from configs import emoji64

def get_config():
    config = emoji64.get_config()
    config.data.update(path={path!r}, image_size=16, transform="rgb,resize:16", batch_size=8)
    config.model.stem, config.model.stages, config.model.attention = 4, ((4, 1, 1), (8, 1, 2)), 0
    config.flow.num_steps = 3
    config.ema_decay = 0.9
    config.diagnostics = ConfigDict(dict(every={steps} // 4, num_samples=32, best="precision"))
    config.train.update(num_steps={steps}, log_every=7, sample_every={steps} // 2, checkpoint_every=5, keep=2)
    return config
"""
POINTS = """
from configs import gaussians

def get_config():
    config = gaussians.get_config("far-fdrl")
    config.data.batch_size, config.flow.num_steps, config.model.width = 16, 3, (8, 8)
    config.diagnostics.update(every={steps} // 4, num_samples=32, best="sliced_wasserstein")
    config.train.update(num_steps={steps}, log_every=7, sample_every={steps} // 2, checkpoint_every=5, keep=2)
    return config
"""


class Torture:
    """A run that is killed, in a folder of its own."""

    def __init__(self, folder: pathlib.Path, name: str, config: pathlib.Path, small: bool):
        self.workdir, self.cache = folder / name, folder / f"{name}-cache"
        self.log = folder / f"{name}.log"
        self._command = [
            *(sys.executable, "main.py", f"--config={config}", f"--workdir={self.workdir}"),
            # One for all runs: what is killed while it is written there is killed too.
            f"--compile_cache={folder / 'compiled'}",
            *([] if small else [f"--config.data.cache={self.cache}"]),
        ]

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("a") as log:
            return subprocess.Popen(self._command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)

    def moments(self, generator: random.Random) -> dict[str, Callable[[], bool]]:
        """When to kill: by name, a function that says whether the moment is there. Asked a thousand times a second."""
        steps = self.workdir / "checkpoints"
        lines, line = self._lines(), generator.randrange(1, 8)
        start, delay = time.monotonic(), generator.uniform(0, 8)

        def half_written() -> bool:
            return any("tmp" in path.name for path in _list(steps))

        def without_checksums() -> bool:
            return any(p.name.isdigit() and not (p / "manifest.json").exists() for p in _list(steps))

        found: dict[str, Callable[[], bool]] = {
            "start": lambda: time.monotonic() - start > delay,
            "training": lambda: self._lines() >= lines + line,
            "saving": half_written,
            "checksums": without_checksums,
        }
        if not (self.workdir / "config.json").exists():
            # Of the process before, which it does not hold any more.
            (self.workdir / "lock").unlink(missing_ok=True)
            found["prior"] = lambda: (self.workdir / "lock").exists()
            found["cache"] = lambda: any(path.name.endswith(".part") for path in _list(self.cache))
        return found

    def _lines(self) -> int:
        path = self.workdir / "metrics.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0


def _list(folder: pathlib.Path) -> list[pathlib.Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def run_and_kill(run: Torture, generator: random.Random, wanted: str = "") -> str:
    """Start it, and kill it at that moment or some; which, or "" where it came to its end before."""
    moments = run.moments(generator)
    name = wanted or generator.choice([*moments])
    # Somewhat later too, to hit different places.
    later = generator.choice([0, generator.uniform(0, 0.005), generator.uniform(0, 0.1)])
    process = run.start()
    while process.poll() is None:
        if moments[name]():
            time.sleep(later)
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    code = process.wait()
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"exit code {code}; the end of {run.log}:\n{run.log.read_text()[-2000:]}")
    return name if code else ""


def finish(run: Torture) -> None:
    process = run.start()
    if process.wait():
        raise SystemExit(f"exit code {process.returncode}; the end of {run.log}:\n{run.log.read_text()[-2000:]}")


def outcome(workdir: pathlib.Path, steps: int) -> dict[str, bytes]:
    """All that must be the same, by name."""
    config = checkpoint.read_config(workdir)
    assert config is not None
    found = {"metrics.jsonl": (workdir / "metrics.jsonl").read_bytes()}
    looks = [json.loads(line) for line in (workdir / "diagnostics.jsonl").read_text().splitlines()]
    found["diagnostics.jsonl"] = json.dumps([{**row, "seconds": 0} for row in looks]).encode()
    best = checkpoint.read_best(workdir)
    found["best.json"] = json.dumps(best).encode()
    abstract = sampling.abstract_state(builders.build(config))
    kept = [(checkpoint.CHECKPOINTS, steps)] + ([(checkpoint.BEST, best["step"])] if best else [])
    for folder, step in kept:
        with checkpoint.Checkpoints(workdir, folder=folder) as checkpoints:
            state = checkpoints.restore(step, abstract)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            found[f"{folder}{jax.tree_util.keystr(path)}"] = np.asarray(leaf).tobytes()
    return found


def write_images(folder: pathlib.Path) -> None:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(NUM_IMAGES):
        coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{i:05d}.png")


def torture(folder: pathlib.Path, kills: int, steps: int, seed: int, small: bool = False) -> collections.Counter[str]:
    """How many kills there were at each moment.

    Raises:
      SystemExit: a run ended with an error, or otherwise than the one that was not killed.
    """
    generator, config = random.Random(seed), folder / "torture_config.py"
    if small:
        config.write_text(POINTS.format(steps=steps))
    else:
        write_images(folder / "images")
        config.write_text(IMAGES.format(path=str(folder / "images"), steps=steps))
    whole = Torture(folder, "whole", config, small)
    finish(whole)
    expected, counts, runs = outcome(whole.workdir, steps), collections.Counter[str](), 0
    while counts.total() < kills:
        runs += 1
        run, allowed = Torture(folder, f"run-{runs}", config, small), min(KILLS_A_RUN, kills - counts.total())
        for kill in range(allowed):
            name = run_and_kill(run, generator, "" if kill or small else ONCE[runs % len(ONCE)])
            if not name:
                break
            counts[name] += 1
            print(f"run {runs}: kill {counts.total()} of {kills}, {name}", flush=True)
        else:
            finish(run)
        found = outcome(run.workdir, steps)
        different = [name for name in expected if expected[name] != found.get(name)]
        if different or expected.keys() != found.keys():
            raise SystemExit(f"run {runs} ended otherwise than one that was not killed: {', '.join(different)}")
        print(f"run {runs} ended as one that was not killed", flush=True)
        shutil.rmtree(run.workdir)
        shutil.rmtree(run.cache, ignore_errors=True)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="points: no image cache, no prior to fit")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = torture(pathlib.Path(folder), args.kills, args.steps, args.seed, args.small)
    moments = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    print(f"{counts.total()} kills ({moments}): every run ended as one that was not killed, bit by bit")


if __name__ == "__main__":
    main()
