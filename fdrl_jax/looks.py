"""Diagnostics while a run trains, and the best checkpoint by them."""

import pathlib

from fdrl_jax import builders, checkpoint, data, diagnostics, guard, manifest, observe, sampling, sharding
from fdrl_jax.state import TrainState


class Looks:
    """Diagnostics of one run, and its best checkpoint by them; a context manager."""

    def __init__(
        self,
        experiment: builders.Experiment,
        dataset: data.Dataset,
        workdir: pathlib.Path,
        observer: observe.Observer | observe.Silent,
        rollbacks: guard.Rollbacks,
    ):
        self._diagnostics = diagnostics.Diagnostics(experiment, dataset)
        self._workdir, self._observer = workdir, observer
        self._best = checkpoint.read_best(workdir)
        if self._best is not None and self._best["metric"] != self._diagnostics.best:
            self._best = None
        self._rollbacks = len(rollbacks)
        if self._best is not None and rollbacks.dropped(self._best["step"], self._best.get("rollbacks", 0)):
            # Of a part of the run that does not count, and whose lines of the log are gone.
            self._best = None
            checkpoint.remove_best(workdir)
        self._kept = checkpoint.Checkpoints(workdir, keep=1, folder=checkpoint.BEST)
        # A kill may leave a step that the record does not name yet: it is looked at again.
        recorded = None if self._best is None else self._best["step"]
        self._kept.set_aside([step for step in manifest.steps_in(workdir / checkpoint.BEST) if step != recorded])

    def __enter__(self) -> "Looks":
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    @property
    def every(self) -> int:
        return self._diagnostics.every

    def look(self, model: sampling.Model, state: TrainState) -> None:
        """Log diagnostics of `model`, and keep `state` if it is the best so far."""
        row = self._diagnostics.look(model)
        self._observer.diagnose(model.step, row)
        name = self._diagnostics.best
        if not name:
            return
        value, best = sharding.from_first_host(row["metrics"][name]), self._best
        # A step that is run again after a resume was kept before.
        if best is None or (model.step > best["step"] and diagnostics.better(name, value, best["value"])):
            # The one before is there until the record names the new one.
            self._kept.save(model.step, state, prune=False)
            self._kept.wait()
            self._best = {"step": model.step, "metric": name, "value": value}
            if self._rollbacks:
                self._best["rollbacks"] = self._rollbacks
            if sharding.is_first_host():
                checkpoint.write_best(self._workdir, self._best)
                self._kept.prune()
