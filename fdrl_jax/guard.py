"""Numbers that go bad while a run trains: found, named, and, where the config says so, taken back.

A training step leaves its loss, the norm of its gradient and the largest |x| of its flowed samples on the device; what
has gathered there is looked at with every line of the log and before every checkpoint. So no step waits for the host,
a fault is named by its own step, and no checkpoint comes after one. The fields of `config.train`, each of which may be
left out:

    sample_range   largest |x| that a flowed sample may have, in units of the data; 0 allows all that is finite
    spike          how far a step's loss may be from the median of the last lines' losses, in multiples of the largest
                   |loss| among these lines; 0 allows all that is finite
    on_divergence  "stop", or "rollback": from the newest checkpoint with other batches and noise and a smaller rate
    max_rollbacks  how many a run may have
    rollback_rate  the factor of the learning rate, each time

WORKDIR/rollbacks.json has the run's rollbacks, and is written before the run goes on after one. All that they change
is a function of that file, so that a run which is killed ends as one which is not. They hold for all steps from then
on, also for those of before where a run goes on from an older checkpoint than it went back to.
"""

import collections
import math
import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Array, Key

from fdrl_jax import manifest, rng
from fdrl_jax.types import DivergedError, InputError

ROLLBACKS_FILE = "rollbacks.json"

# Of 45 runs of shipped configs those that stayed finite had no loss further than 30 such multiples (325 with a stale
# ratio, whose loss swings), as far as the means in their logs bound it; those that broke went beyond 1e7. The range is
# an assumption: images are in [-1, 1], and the toys within 10.
DEFAULTS: dict[str, Any] = {
    "sample_range": 1000.0,
    "spike": 1000.0,
    "on_divergence": "stop",
    "max_rollbacks": 3,
    "rollback_rate": 0.5,
}

# Lines of the log that a loss is compared with, and how many there must be.
_LINES = 20
_ENOUGH_LINES = 5


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields above of the group `train` of a config, with defaults for those left out."""
    return {name: config.get(name, value) for name, value in DEFAULTS.items()}


class Watch:
    """Looks at the metrics of a run's steps, in order."""

    def __init__(self, config: Mapping[str, Any], losses: Iterable[float], start: int = 0):
        """Begin at step `start`. Steps before it were looked at when they were taken.

        Args:
          config: the group `train`.
          losses: of the lines that the log has up to that step.
          start: it.
        """
        self._start = start
        chosen = settings(config)
        self._range, self._spike = chosen["sample_range"], chosen["spike"]
        self._losses = collections.deque(losses, maxlen=_LINES)

    def check(self, rows: Sequence[Mapping[str, Any]], first: int) -> None:
        """Look at steps `first`, `first` + 1, ..., of which no line is written yet.

        Raises:
          DivergedError: one is bad.
        """
        for step, row in enumerate(rows, first):
            reason = self._fault(row) if step >= self._start else ""
            if reason:
                raise DivergedError(f"training diverged: {reason.format(f'in step {step}')}", step)

    def _fault(self, row: Mapping[str, Any]) -> str:
        """What is wrong with a step, with {} for which; "" if nothing."""
        loss, grad_norm = float(row["loss"]), float(row["grad_norm"])
        # The gradient too: a finite loss with an infinite gradient makes bad parameters that a checkpoint would keep.
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return f"loss {loss:g}, gradient norm {grad_norm:g} {{}}"
        reached = float(row.get("max_flow", 0.0))  # Of a checkpoint of before, no number.
        if not math.isfinite(reached):
            return "samples that are not finite {}"
        if self._range and reached > self._range:
            return f"a sample with |x| = {reached:g} {{}}, beyond config.train.sample_range = {self._range:g}"
        if self._spike and len(self._losses) >= _ENOUGH_LINES:
            level, scale = statistics.median(self._losses), max(map(abs, self._losses))
            if abs(loss - level) > self._spike * scale:
                return f"loss {loss:g} {{}}, after {level:g} (config.train.spike = {self._spike:g})"
        return ""

    def logged(self, loss: float) -> None:
        """A line of the log has this loss."""
        self._losses.append(loss)


@dataclass(frozen=True)
class Rollback:
    """A return to an earlier state of the run.

    Attributes:
      step: the step that was found to be bad.
      reason: what was wrong with it.
      to: how many steps were kept.
      rate: the factor of the learning rate from there on, besides those of others.
    """

    step: int
    reason: str
    to: int
    rate: float


class Rollbacks(tuple[Rollback, ...]):
    """The rollbacks of a run, in order."""

    @property
    def rate(self) -> float:
        """Their factor of the learning rate."""
        return math.prod(each.rate for each in self)

    def seed(self, seed: int) -> int:
        """In place of the config's seed, for the order of the data."""
        return int(np.random.SeedSequence([seed, len(self)]).generate_state(1)[0]) if self else seed

    def root(self, root: Key[Array, ""]) -> Key[Array, ""]:
        """In place of the root key, for the prior's draws and the noise."""
        return rng.stream(root, "rollback", len(self)) if self else root

    def dropped(self, step: int, after: int) -> bool:
        """Whether `step`, reached when there were `after` rollbacks, was taken back by a later one."""
        return any(step > each.to for each in self[after:])


def read(workdir: pathlib.Path) -> Rollbacks:
    """The rollbacks of the run in `workdir`.

    Raises:
      InputError: the file is damaged.
    """
    path = workdir / ROLLBACKS_FILE
    try:
        return Rollbacks(Rollback(**each) for each in manifest.read(path)["rollbacks"])
    except FileNotFoundError:
        return Rollbacks()
    except (manifest.DamagedError, KeyError, TypeError):
        raise InputError(f"{path} is damaged: restore it or use a new workdir") from None


def clear(workdir: pathlib.Path) -> None:
    """Before a run begins: what one before it left in `workdir`, whose config was removed, is not of this one."""
    (workdir / ROLLBACKS_FILE).unlink(missing_ok=True)


def write(workdir: pathlib.Path, rollbacks: Rollbacks) -> None:
    """Record the rollbacks of the run in `workdir`."""
    manifest.write(workdir / ROLLBACKS_FILE, {"rollbacks": [vars(each) for each in rollbacks]})


def roll_back(config: Mapping[str, Any], rollbacks: Rollbacks, error: DivergedError, last: int | None) -> Rollbacks:
    """The rollbacks with one more, for what `error` says.

    Args:
      config: the group `train`.
      rollbacks: those so far.
      error: what was found.
      last: the newest checkpoint, or None where there is none.

    Raises:
      DivergedError: the config says to stop, or that this was often enough.
    """
    chosen = settings(config)
    kept = "there is no checkpoint yet" if last is None else f"the last good checkpoint is step {last}"
    if chosen["on_divergence"] != "rollback" or len(rollbacks) >= chosen["max_rollbacks"]:
        times = f"; it was rolled back {len(rollbacks)} time{'s' * (len(rollbacks) != 1)}" if rollbacks else ""
        raise DivergedError(
            f"{error}; {kept}{times}. Try a smaller optimizer.learning_rate or flow.step_size in a new workdir",
            error.step,
        ) from None
    step = 0 if error.step is None else error.step
    return Rollbacks((*rollbacks, Rollback(step, str(error), last or 0, float(chosen["rollback_rate"]))))
