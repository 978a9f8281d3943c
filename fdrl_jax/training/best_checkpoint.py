"""The best checkpoint of a run, chosen by its diagnostics while it trains."""

import pathlib

from fdrl_jax import data
from fdrl_jax.experiment import builders, checkpoint, manifest
from fdrl_jax.experiment.manifest import BEST
from fdrl_jax.experiment.model import Model
from fdrl_jax.experiment.workdir_files import read_best, remove_best, write_best
from fdrl_jax.methods.base import State
from fdrl_jax.training import diagnostics, run_log, stability
from fdrl_jax.utils import sharding


class BestCheckpoint:
    """Measures diagnostics of a run, logs them, and keeps its best checkpoint by one of them; a context manager."""

    def __init__(
        self,
        experiment: builders.Experiment,
        dataset: data.Dataset,
        workdir: pathlib.Path,
        log: run_log.RunLog | run_log.NullLog,
        rollbacks: stability.Rollbacks,
    ):
        """Continue from the best checkpoint in `workdir`, if it counts.

        A best checkpoint by another metric does not count, nor does one of a step that a rollback undid, whose lines of
        the log are gone.
        """
        self._diagnostics = diagnostics.Diagnostics(experiment, dataset)
        self._workdir, self._log = workdir, log
        self._best = read_best(workdir)
        if self._best is not None and self._best["metric"] != self._diagnostics.best:
            self._best = None
        self._rollbacks = len(rollbacks)
        if self._best is not None and rollbacks.dropped(self._best["step"], self._best.get("rollbacks", 0)):
            self._best = None
            remove_best(workdir)
        self._kept = checkpoint.Checkpoints(workdir, keep=1, folder=BEST)
        # A kill may leave a step that best.json does not name yet: training measures that step again.
        recorded = None if self._best is None else self._best["step"]
        self._kept.set_aside([step for step in manifest.steps_in(workdir / BEST) if step != recorded])

    def __enter__(self) -> "BestCheckpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    @property
    def every(self) -> int:
        """Number of training steps between two measurements."""
        return self._diagnostics.every

    def measure(self, model: Model, state: State) -> None:
        """Log the diagnostics of `model`, and keep `state` if it is the best so far."""
        row = self._diagnostics.measure(model)
        self._log.diagnose(model.step, row)
        name = self._diagnostics.best
        if not name:
            return
        value, best = sharding.broadcast_from_first_host(row["metrics"][name]), self._best
        # A step that is trained again after a resume was kept the first time.
        if best is None or (model.step > best["step"] and diagnostics.better(name, value, best["value"])):
            # The best one so far stays on disk until best.json names the new one.
            self._kept.save(model.step, state, prune=False)
            self._kept.wait()
            self._best = {"step": model.step, "metric": name, "value": value}
            if self._rollbacks:
                self._best["rollbacks"] = self._rollbacks
            if sharding.is_first_host():
                write_best(self._workdir, self._best)
                self._kept.prune()
