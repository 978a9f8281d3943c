"""The calls of fdrl_jax that are timed: those that training and sampling make."""

import dataclasses
import functools
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common.cases import Case, fdrl
from benchmarks.speed.data_pipeline import seconds_per_batch
from benchmarks.speed.timing import seconds
from fdrl_jax import data, priors
from fdrl_jax.experiment import checkpoint
from fdrl_jax.experiment.model import Model, initial_state
from fdrl_jax.inference import sampling
from fdrl_jax.methods import prior_draws, ratio_flow
from fdrl_jax.methods.train_state import TrainState
from fdrl_jax.types import Params
from fdrl_jax.utils import sharding
from fdrl_jax.utils.compilation import Program

JITTER = 1e-4  # added to the diagonal of the prior's covariance
POWER_ITERATIONS = 30


class TimedCalls:
    """The calls that are timed, at the initial weights of a case.

    Attributes:
      case: the network and its load.
      state: the training state, advanced by every training step.
      root: the key that all noise is derived from.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.state = sharding.replicate(settled_state(case))
        self._train_step = case.experiment.method.make_train_step()
        self.root = sharding.replicate(jax.random.key(3))
        self._x = case.particles()

    @functools.cached_property
    def _params(self) -> Params:
        return fdrl(self.case.experiment).recipe.estimator.effective(self.state.params, self.state.spectral)

    @property
    def prior(self) -> priors.Prior:
        """The distribution that `Case.particles` are drawn from."""
        shape = self.case.event_shape
        return priors.Uniform(shape) if self.case.experiment.is_image else priors.Normal(shape)

    def step_memory(self) -> int:
        """Return the bytes that the compiled training step needs besides its arguments and results."""
        batch = sharding.assemble_by_sample(self.case.batch(), self.case.load.batch_size)
        compiled = self._train_step.lower(self.state, self.prior, self.root, batch).compile()
        return int(compiled.memory_analysis().temp_size_in_bytes)  # type: ignore[union-attr]

    def flow(self) -> jax.Array:
        """Run the compiled scan of K flow steps; particles [batch, *event]."""
        recipe, k, zero = fdrl(self.case.experiment).recipe, self.case.load.num_steps, jnp.asarray(0)
        return ratio_flow.advance(
            recipe, self._params, self.root, sharding.shard_by_sample(jnp.copy(self._x)), zero, zero, k
        )

    def train_step(self) -> Any:
        """Make one training step from the present state and return its metrics.

        The particles are given, because draws from the prior have a row of their own.
        """
        batch = sharding.assemble_by_sample(self.case.batch(), self.case.load.batch_size)
        self.state, metrics = self._train_step(self.state, priors.Precomputed(self._x), self.root, batch)
        self.__dict__.pop("_params", None)
        return metrics

    def sample(self) -> np.ndarray:
        """Sample one batch as `fdrl_jax.sample` does, from a uniform or normal prior."""
        count = self.case.load.batch_size
        model = Model(self.case.experiment, self._params, self.prior, 0)
        return sampling.sample(model, 4, count, self.case.load.num_steps, count, progress=False)

    def by_row(self) -> dict[str, Callable[[], Any]]:
        """Return the calls that are compared with PyTorch, by row of the table."""
        return {"flow step": self.flow, "training step": self.train_step, "sampling": self.sample}


def settled_state(case: Case) -> TrainState:
    """Return the initial training state, with the vectors of the spectral norm after 30 power iterations.

    With their random initial vectors the normalised weights would be so large that the flow overflows.
    """
    state, estimator = initial_state(case.experiment), fdrl(case.experiment).recipe.estimator
    advance = Program(estimator.advance_spectral)
    spectral = state.spectral
    for _ in range(POWER_ITERATIONS if spectral else 0):
        spectral = advance(state.params, spectral)
    return dataclasses.replace(state, spectral=spectral)


def prior_times(images: np.ndarray, rank: int, draws: int) -> dict[str, float]:
    """Time the fit of a Gaussian prior and draws from it.

    Args:
      images: uint8 [n, h, w, c].
      rank: rank of the prior; 0 fits the exact one.
      draws: number of draws in one call.

    Returns:
      "fit": seconds of the fit; "draw": median seconds of three calls that are already compiled; "trace": trace of the
      fitted covariance, to compare with PyTorch's.
    """
    start = time.perf_counter()
    prior: priors.Gaussian | priors.LowRankGaussian
    if rank:
        prior = priors.fit_low_rank(images, rank, JITTER)
        trace = float((prior.basis**2).sum() + (prior.residual**2).sum())
    else:
        prior = priors.fit_gaussian(images, JITTER)
        trace = float(np.square(prior.factor, dtype=np.float64).sum())
    fit = time.perf_counter() - start
    placed = priors.place(prior, jax.devices())
    first = jnp.asarray(0)
    times = [seconds(lambda: prior_draws.draw_prior(placed, jax.random.key(0), first, draws)) for _ in range(4)]
    return {"fit": fit, "draw": sorted(times[1:])[1], "trace": trace}


def batch_seconds(case: Case, images: np.ndarray | None, duration: float) -> float:
    """Return the seconds per batch of the data pipeline, in a loop that does nothing else for `duration` seconds.

    Batches are of `images`, or of Swiss roll points where that is None.
    """
    dataset = data.swissroll() if images is None else data.ArrayDataset(images, flip=True)
    return seconds_per_batch(dataset, case.load.batch_size, duration)


def checkpoint_seconds(state: TrainState, rounds: int) -> list[float]:
    """Return the seconds that each of `rounds` saves keeps the training loop waiting.

    Each save begins when the one before it is on disk; a first one is not counted.
    """
    times = []
    with (
        tempfile.TemporaryDirectory() as folder,
        checkpoint.Checkpoints(pathlib.Path(folder), keep=1) as checkpoints,
    ):
        for step in range(rounds + 1):
            start = time.perf_counter()
            checkpoints.save(step, state)
            times.append(time.perf_counter() - start)
            checkpoints.wait()
    return times[1:]
