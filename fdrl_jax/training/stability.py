"""Detection of training steps that diverge, and the rollback to an earlier checkpoint where the config asks for it.

A training step keeps its loss, the norm of its gradient and the largest |x| of its particles on the device. They are
fetched and checked with every line of the log and before every checkpoint. So no step waits for the host, a fault is
reported with the step in which it happened, and no checkpoint is written after a fault. The fields of `config.train`,
all optional:

    sample_range   largest |x| that a particle may have, in units of the data; 0 allows every finite value
    spike          largest distance of a step's loss from the median loss of the last lines of the log, in multiples of
                   the largest |loss| among these lines; 0 allows every finite value
    on_divergence  "stop", or "rollback": return to the newest checkpoint, with other batches, other noise and a smaller
                   learning rate
    max_rollbacks  largest number of rollbacks in a run
    rollback_rate  factor of the learning rate at each rollback

WORKDIR/rollbacks.json lists the run's rollbacks; it is written before training continues after one. Everything that a
rollback changes is a function of that file, so a run that is killed ends like one that is not. A rollback applies to
all later steps, also where the run later resumes from an older checkpoint than the one it returned to.
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

from fdrl_jax.experiment import manifest
from fdrl_jax.types import DivergedError, InputError
from fdrl_jax.utils import rng

ROLLBACKS_FILE = "rollbacks.json"

# In 45 runs of shipped configs, no loss of a run that stayed finite was further from the median than 30 such multiples
# (325 with a stale ratio, whose loss swings), as far as the means in their logs bound it; runs that diverged went
# beyond 1e7. The range of samples is an assumption: images are in [-1, 1], and toy data within 10.
DEFAULTS: dict[str, Any] = {
    "sample_range": 1000.0,
    "spike": 1000.0,
    "on_divergence": "stop",
    "max_rollbacks": 3,
    "rollback_rate": 0.5,
}

# A loss is compared with this many lines of the log, and not before there are enough of them.
_LINES = 20
_ENOUGH_LINES = 5


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields above, from the group `train` of a config; missing ones have their defaults."""
    return {name: config.get(name, value) for name, value in DEFAULTS.items()}


class DivergenceMonitor:
    """Checks the metrics of a run's steps, in their order."""

    def __init__(self, config: Mapping[str, Any], losses: Iterable[float], start: int = 0):
        """Start checking at a step; earlier steps were checked when they were taken.

        Args:
          config: group `train` of the config.
          losses: losses of the log's lines up to that step.
          start: the first step to check.
        """
        self._start = start
        chosen = settings(config)
        self._range, self._spike = chosen["sample_range"], chosen["spike"]
        self._losses = collections.deque(losses, maxlen=_LINES)

    def check(self, rows: Sequence[Mapping[str, Any]], first: int) -> None:
        """Check steps `first`, `first` + 1, ..., which are in no line of the log yet.

        Raises:
          DivergedError: a step diverged; the message names it.
        """
        for step, row in enumerate(rows, first):
            reason = self._fault(row) if step >= self._start else ""
            if reason:
                raise DivergedError(f"training diverged: {reason.format(f'in step {step}')}", step)

    def _fault(self, row: Mapping[str, Any]) -> str:
        """The reason why a step counts as diverged, with {} in place of the step; "" for a good step."""
        loss, grad_norm = float(row["loss"]), float(row["grad_norm"])
        # The gradient counts too: an infinite gradient beside a finite loss spoils the parameters of the checkpoint.
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return f"loss {loss:g}, gradient norm {grad_norm:g} {{}}"
        reached = float(row.get("max_flow", 0.0))  # Checkpoints of older versions do not store max_flow.
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
        """Add the loss of a new line of the log to those that later steps are compared with."""
        self._losses.append(loss)


@dataclass(frozen=True)
class Rollback:
    """A return to an earlier state of the run.

    Attributes:
      step: the step that diverged.
      reason: why it counts as diverged.
      to: number of steps that were kept.
      rate: factor of the learning rate from then on, besides those of earlier rollbacks.
    """

    step: int
    reason: str
    to: int
    rate: float


class Rollbacks(tuple[Rollback, ...]):
    """The rollbacks of a run, in the order in which they happened."""

    @property
    def rate(self) -> float:
        """Product of their factors of the learning rate."""
        return math.prod(each.rate for each in self)

    def seed(self, seed: int) -> int:
        """The seed for the order of the data: the config's until the first rollback, then another after each."""
        return int(np.random.SeedSequence([seed, len(self)]).generate_state(1)[0]) if self else seed

    def root(self, root: Key[Array, ""]) -> Key[Array, ""]:
        """The root key of the prior's draws and the noise: `root` until the first rollback, then another after each."""
        return rng.stream(root, "rollback", len(self)) if self else root

    def dropped(self, step: int, after: int) -> bool:
        """Return True if a later rollback undid `step`, which was reached when there had been `after` rollbacks."""
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
    """Remove the record that an earlier run left in `workdir`, before a new run begins there."""
    (workdir / ROLLBACKS_FILE).unlink(missing_ok=True)


def write(workdir: pathlib.Path, rollbacks: Rollbacks) -> None:
    """Write the rollbacks of the run in `workdir`."""
    manifest.write(workdir / ROLLBACKS_FILE, {"rollbacks": [vars(each) for each in rollbacks]})


def roll_back(config: Mapping[str, Any], rollbacks: Rollbacks, error: DivergedError, last: int | None) -> Rollbacks:
    """The rollbacks so far and a new one, for a step that diverged.

    Args:
      config: group `train` of the config.
      rollbacks: the rollbacks so far.
      error: the error that names the step and the reason.
      last: step of the newest checkpoint, or None without one.

    Raises:
      DivergedError: the config asks to stop, or the run has had `max_rollbacks` already.
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
