"""The rows of `python -m benchmarks` on our side: the calls that training and sampling make."""

import contextlib
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

from benchmarks.cases import Case
from benchmarks.data import images_per_second
from fdrl_jax import checkpoint, convert, data, models, priors, sampling, sharding, steps
from fdrl_jax.programs import Program
from fdrl_jax.state import TrainState
from fdrl_jax.types import Params

JITTER = 1e-4
POWER_ITERATIONS = 30


class Ours:
    """A case at its initial weights, and what can be timed of it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.state = sharding.same(initial_state(case))
        self._train_step = steps.make_train_step(case.experiment.recipe, case.experiment.optimizer)
        self._root = sharding.same(jax.random.key(3))
        self._x = case.particles()

    @functools.cached_property
    def _params(self) -> Params:
        return self.case.experiment.recipe.estimator.effective(self.state.params, self.state.spectral)

    @property
    def prior(self) -> priors.Prior:
        """What `Case.particles` are drawn from."""
        shape = self.case.event_shape
        return priors.Uniform(shape) if self.case.experiment.is_image else priors.Normal(shape)

    def step_memory(self) -> int:
        """Bytes of the compiled training step besides what goes in and comes out."""
        batch = sharding.by_sample(self.case.batch(), self.case.load.batch_size)
        compiled = self._train_step.lower(self.state, self.prior, self._root, batch).compile()
        return int(compiled.memory_analysis().temp_size_in_bytes)  # type: ignore[union-attr]

    def flow(self) -> jax.Array:
        """K steps of the compiled scan."""
        recipe, k, zero = self.case.experiment.recipe, self.case.load.num_steps, jnp.asarray(0)
        return steps.advance(recipe, self._params, self._root, sharding.split(jnp.copy(self._x)), zero, zero, k)

    def train_step(self) -> Any:
        """One step from where the last one ended, from given particles: the prior's draw is a row of its own."""
        batch = sharding.by_sample(self.case.batch(), self.case.load.batch_size)
        self.state, metrics = self._train_step(self.state, priors.Drawn(self._x), self._root, batch)
        self.__dict__.pop("_params", None)
        return metrics

    def sample(self) -> np.ndarray:
        """A batch, as `fdrl_jax.sample` gives it, of a uniform or normal prior."""
        count = self.case.load.batch_size
        model = sampling.Model(self.case.experiment, self._params, self.prior, 0)
        return sampling.sample(model, 4, count, self.case.load.num_steps, count, progress=False)

    def runs(self) -> dict[str, Callable[[], Any]]:
        """What is timed against PyTorch, by row."""
        return {"flow step": self.flow, "training step": self.train_step, "sampling": self.sample}

    def results(self) -> dict[str, np.ndarray]:
        """What `torch_baseline.Session.compare` writes, under the names of PyTorch's entries."""
        quiet = Ours(self.case.noiseless())
        quiet._root = self._root
        # PyTorch's forms too flow at the first vectors of the spectral norm; the training step advances them once.
        arrays = {"x": np.asarray(quiet.flow())}
        metrics = quiet.train_step()
        adam = next(s for s in jax.tree.leaves(quiet.state.opt_state, is_leaf=_is_adam) if _is_adam(s))
        for group, tree in (("moments", adam.mu), ("average", quiet.state.ema_params)):
            entries = torch_state(self.case, dataclasses.replace(quiet.state, params=tree))
            arrays |= {
                f"{group}/{name.replace('weight_orig', 'weight')}": value
                for name, value in entries.items()
                if not name.endswith(("_u", "_v"))
            }
        return {"loss": np.asarray(metrics["loss"]), **arrays}


def initial_state(case: Case) -> TrainState:
    """Before the first step, but for the vectors of the spectral norm, which are near their limit.

    At their random start they make weights so large that the flow overflows.
    """
    state, estimator = sampling.initial_state(case.experiment), case.experiment.recipe.estimator
    advance = Program(estimator.advance_spectral)
    spectral = state.spectral
    for _ in range(POWER_ITERATIONS if spectral else 0):
        spectral = advance(state.params, spectral)
    return dataclasses.replace(state, spectral=spectral)


def _is_adam(x: Any) -> bool:
    return hasattr(x, "mu")


def torch_state(case: Case, state: TrainState) -> dict[str, np.ndarray]:
    """The parameters of `state` as a state_dict of `torch_networks`."""
    model = case.model
    if model["name"] == "mlp":
        names = [*(f"Dense_{i}" for i in range(len(model["width"]))), "head"]
        kinds = (("weight", "kernel"), ("bias", "bias"))
        params = {
            f"net.{2 * i}.{theirs}": np.asarray(state.params[name][ours]).T
            for i, name in enumerate(names)
            for theirs, ours in kinds
        }
        return {name: np.ascontiguousarray(value) for name, value in params.items()}
    stages = tuple(models.Stage(*stage) for stage in model["stages"])
    architecture = convert.Architecture(
        model["stem"],
        stages,
        model["attention"],
        model["spectral_norm"],
        case.event_shape,  # type: ignore[arg-type]
    )
    return convert.to_torch_state_dict(convert.Network(architecture, state.params, state.spectral))


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def write_torch_case(case: Case, path: pathlib.Path, compiled: bool) -> dict[str, Any]:
    """Weights and inputs to `path`; the request of `torch_baseline.Session.case`."""
    state = initial_state(case)
    arrays = {f"state/{name}": value for name, value in torch_state(case, state).items()}
    np.savez(path, batch=case.batch(), x=np.asarray(case.particles()), **arrays)  # type: ignore[arg-type]
    config, recipe = case.experiment.config, case.experiment.recipe
    return {
        "arrays": str(path),
        "compiled": compiled,
        "model": case.model,
        "event_shape": case.event_shape,
        "spectral_norm": case.model.get("spectral_norm", False),
        "num_steps": recipe.num_steps,
        "step_size": recipe.step_size,
        "noise": recipe.noise,
        "sigma": recipe.dequantize_sigma,
        "ema_decay": recipe.ema_decay,
        **{name: config["optimizer"][name] for name in ("learning_rate", "b1", "b2")},
    }


def largest_difference(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], start: np.ndarray) -> float:
    """Over all arrays, the largest difference by the largest entry; of `x`, by the largest move from `start`.

    Raises:
      ValueError: they do not have the same arrays.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"arrays of one side alone: {sorted(ours.keys() ^ theirs.keys())}")
    worst = 0.0
    for name, value in ours.items():
        scale = np.abs(value - start).max() if name == "x" else np.abs(value).max()
        worst = max(worst, float(np.abs(value - theirs[name]).max() / scale))
    return worst


def prior_times(images: np.ndarray, rank: int, draws: int) -> dict[str, float]:
    """Seconds of the fit, and of draws once it is compiled; the factor's squares summed, to compare."""
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
    times = [seconds(lambda: steps.draw_prior(placed, jax.random.key(0), first, draws)) for _ in range(4)]
    return {"fit": fit, "draw": sorted(times[1:])[1], "trace": trace}


def batch_seconds(case: Case, images: np.ndarray | None, duration: float) -> float:
    """A batch of the data pipeline in a loop that does nothing with it."""
    size = case.load.batch_size
    if images is not None:
        return size / images_per_second(images, duration, size)
    points = data.swissroll()
    batches = data.prefetch(lambda step: jax.device_put(points.batch(0, step, size)), 0, 10**9)
    with contextlib.closing(batches):
        next(batches)
        start, count = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < duration:
            jax.block_until_ready(next(batches))
            count += 1
    return elapsed / count


def checkpoint_seconds(ours: Ours, rounds: int) -> list[float]:
    """How long a save holds up the loop, when the one before it is on disk."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        kept = checkpoint.Checkpoints(pathlib.Path(folder), keep=1)
        with kept:
            for step in range(rounds + 1):
                start = time.perf_counter()
                kept.save(step, ours.state)
                times.append(time.perf_counter() - start)
                kept.wait()
    return times[1:]
