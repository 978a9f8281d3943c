"""Kill a training run at random moments, and test that its result is the same as without kills.

    python -m benchmarks.robustness.torture [--kills=50] [--steps=300] [--seed=0] [--small]

`main.py` is killed with SIGKILL while it starts, writes the image cache, fits the prior, trains, saves a checkpoint, or
computes its checksums. The same command then resumes the run, and is killed again. After a few kills the run may end.
Its parameters, EMA, optimiser state, metrics.jsonl, diagnostics.jsonl and best checkpoint are compared bit by bit with
those of a run that was not killed, and a new run begins. Prints a line for each kill and the number of kills at each
moment. The exit code is 1 if a run ended differently. With --small, the data are points instead of images: there is no
cache and no fit to interrupt, but the test takes seconds.
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

from fdrl_jax.experiment import builders, checkpoint
from fdrl_jax.experiment.manifest import BEST, CHECKPOINTS
from fdrl_jax.experiment.model import abstract_state
from fdrl_jax.experiment.workdir_files import read_best, read_config

ROOT = pathlib.Path(__file__).parents[2]
NUM_IMAGES = 1500
KILLS_A_RUN = 12  # A run is killed at most so often before it may end.
# Each run passes these moments once, at its beginning. So the first kill of a run is at one of them, in turn.
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


class KilledRun:
    """A training run that can be killed and resumed.

    Args:
      folder: the folder of all runs.
      name: name of this run's own files in `folder`.
      config: the config file.
      small: the config is of points, which have no image cache.
    """

    def __init__(self, folder: pathlib.Path, name: str, config: pathlib.Path, small: bool):
        self.workdir, self.cache = folder / name, folder / f"{name}-cache"
        self.log = folder / f"{name}.log"
        self._command = [
            *(sys.executable, "main.py", f"--config={config}", f"--workdir={self.workdir}"),
            # Shared by all runs, so that kills also interrupt writes to the compilation cache.
            f"--compile_cache={folder / 'compiled'}",
            *([] if small else [f"--config.data.cache={self.cache}"]),
        ]

    def start(self) -> subprocess.Popen[bytes]:
        """Start or resume the run; what it prints is appended to `log`."""
        with self.log.open("a") as log:
            return subprocess.Popen(self._command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)

    def moments(self, generator: random.Random) -> dict[str, Callable[[], bool]]:
        """Return the moments to kill at: by name, a function that returns True when the moment has come.

        The functions are called a thousand times a second. How long "start" and "training" wait is random.
        """
        steps = self.workdir / "checkpoints"
        lines_before, more_lines = self._lines(), generator.randrange(1, 8)
        start, delay = time.monotonic(), generator.uniform(0, 8)

        def half_written() -> bool:
            return any("tmp" in path.name for path in _list(steps))

        def without_checksums() -> bool:
            return any(p.name.isdigit() and not (p / "manifest.json").exists() for p in _list(steps))

        checks: dict[str, Callable[[], bool]] = {
            "start": lambda: time.monotonic() - start > delay,
            "training": lambda: self._lines() >= lines_before + more_lines,
            "saving": half_written,
            "checksums": without_checksums,
        }
        if not (self.workdir / "config.json").exists():
            # Removed because its appearance is the sign of the moment "prior". The killed process no longer holds it.
            (self.workdir / "lock").unlink(missing_ok=True)
            checks["prior"] = lambda: (self.workdir / "lock").exists()
            checks["cache"] = lambda: any(path.name.endswith(".part") for path in _list(self.cache))
        return checks

    def _lines(self) -> int:
        """Return the number of lines in metrics.jsonl."""
        path = self.workdir / "metrics.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0


def _list(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the contents of a folder, or none if it does not exist."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def run_and_kill(run: KilledRun, generator: random.Random, wanted: str = "") -> str:
    """Start or resume a run and kill it.

    Args:
      run: the run.
      generator: the source of random moments.
      wanted: the moment to kill at; a random one if empty.

    Returns:
      The moment of the kill, or "" if the run ended before it.

    Raises:
      SystemExit: the run ended with an error.
    """
    moments = run.moments(generator)
    name = wanted or generator.choice([*moments])
    # Kills come some time after the moment too, to interrupt the code in different places.
    delay = generator.choice([0, generator.uniform(0, 0.005), generator.uniform(0, 0.1)])
    process = run.start()
    while process.poll() is None:
        if moments[name]():
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    code = process.wait()
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"exit code {code}; the end of {run.log}:\n{run.log.read_text()[-2000:]}")
    return name if code else ""


def finish(run: KilledRun) -> None:
    """Run to the end.

    Raises:
      SystemExit: the run ended with an error.
    """
    process = run.start()
    if process.wait():
        raise SystemExit(f"exit code {process.returncode}; the end of {run.log}:\n{run.log.read_text()[-2000:]}")


def outcome(workdir: pathlib.Path, steps: int) -> dict[str, bytes]:
    """Return the bytes of everything that must not depend on kills, by name."""
    config = read_config(workdir)
    assert config is not None
    contents = {"metrics.jsonl": (workdir / "metrics.jsonl").read_bytes()}
    diagnostics = [json.loads(line) for line in (workdir / "diagnostics.jsonl").read_text().splitlines()]
    contents["diagnostics.jsonl"] = json.dumps([{**row, "seconds": 0} for row in diagnostics]).encode()
    best = read_best(workdir)
    contents["best.json"] = json.dumps(best).encode()
    abstract = abstract_state(builders.build(config))
    kept = [(CHECKPOINTS, steps)] + ([(BEST, best["step"])] if best else [])
    for folder, step in kept:
        with checkpoint.Checkpoints(workdir, folder=folder) as checkpoints:
            state = checkpoints.restore(step, abstract)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            contents[f"{folder}{jax.tree_util.keystr(path)}"] = np.asarray(leaf).tobytes()
    return contents


def write_images(folder: pathlib.Path) -> None:
    """Write NUM_IMAGES random smooth 64 x 64 PNG files."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(NUM_IMAGES):
        coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{i:05d}.png")


def torture(folder: pathlib.Path, kills: int, steps: int, seed: int, small: bool = False) -> collections.Counter[str]:
    """Kill runs in `folder` until there were `kills` kills, and return the number of kills at each moment.

    Args:
      folder: an empty folder for all files.
      kills: number of kills.
      steps: training steps of each run.
      seed: seed of the moments.
      small: train on points instead of images.

    Raises:
      SystemExit: a run ended with an error, or with another result than the run that was not killed.
    """
    generator, config = random.Random(seed), folder / "torture_config.py"
    if small:
        config.write_text(POINTS.format(steps=steps))
    else:
        write_images(folder / "images")
        config.write_text(IMAGES.format(path=str(folder / "images"), steps=steps))
    whole = KilledRun(folder, "whole", config, small)
    finish(whole)
    expected, counts, runs = outcome(whole.workdir, steps), collections.Counter[str](), 0
    while counts.total() < kills:
        runs += 1
        run, allowed = KilledRun(folder, f"run-{runs}", config, small), min(KILLS_A_RUN, kills - counts.total())
        for kill in range(allowed):
            name = run_and_kill(run, generator, "" if kill or small else ONCE[runs % len(ONCE)])
            if not name:
                break
            counts[name] += 1
            print(f"run {runs}: kill {counts.total()} of {kills}, {name}", flush=True)
        else:
            finish(run)
        actual = outcome(run.workdir, steps)
        different = [name for name in expected if expected[name] != actual.get(name)]
        if different or expected.keys() != actual.keys():
            raise SystemExit(f"run {runs} differs from one that was not killed: {', '.join(different)}")
        print(f"run {runs} ended like one that was not killed", flush=True)
        shutil.rmtree(run.workdir)
        shutil.rmtree(run.cache, ignore_errors=True)
    return counts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="number of kills")
    parser.add_argument("--steps", type=int, default=300, help="training steps of each run")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments to kill at")
    parser.add_argument("--small", action="store_true", help="points: no image cache, no prior to fit")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        counts = torture(pathlib.Path(folder), options.kills, options.steps, options.seed, options.small)
    moments = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    print(f"{counts.total()} kills ({moments}): every run ended like one that was not killed, bit by bit")


if __name__ == "__main__":
    main()
