"""The training loop: batches in, metrics, pictures and checkpoints out."""

import contextlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fdrl_jax import (
    builders,
    checkpoint,
    data,
    diagnostics,
    manifest,
    observe,
    rng,
    sample_files,
    sampling,
    schema,
    sharding,
    steps,
)
from fdrl_jax.priors import HostGaussian, Prior
from fdrl_jax.state import TrainState
from fdrl_jax.types import DivergedError, InputError

PICTURE_IMAGES = 64
PICTURE_POINTS = 2000


def train(config: schema.Config, workdir: str | pathlib.Path, progress: bool = True) -> sampling.Model:
    """Train to `config.train.num_steps`, from the newest checkpoint in `workdir` if there is one.

    Args:
      config: see `schema`; a ConfigDict or nested dicts.
      workdir: made if missing. What is written there: `checkpoint` and `observe`.
      progress: show a progress bar.

    Returns:
      The trained model.

    Raises:
      InputError: the config is wrong, or `workdir` belongs to another experiment or cannot be written.
      DivergedError: the loss became non-finite; checkpoints up to there are kept.
    """
    experiment = builders.build(config)
    workdir = pathlib.Path(workdir)
    num_steps = experiment.config["train"]["num_steps"]
    batch_size = experiment.config["data"]["batch_size"]
    steps.check_batch("config.data.batch_size", experiment.recipe, batch_size, sharding.mesh())
    progress = progress and sharding.is_first_host()
    stored = _stored_config(experiment, workdir)
    sharding.wait_for_all("all have looked into the workdir")
    # What one host prepares the others find, where they share the disk.
    with sharding.first_host_first("data"):
        dataset = builders.dataset(experiment, progress)
        _check_images(experiment, dataset, workdir)
    with sharding.first_host_first("prior"):
        fitted = _set_up(experiment, workdir, stored, dataset, progress)
    prior, placement = builders.place_prior(fitted)
    if placement:
        _say(placement)
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(checkpoint.Checkpoints(workdir, keep=experiment.config["train"]["keep"]))
        start = checkpoints.newest() or 0
        if start:
            state = checkpoints.restore(start, sampling.abstract_state(experiment))
        else:
            state = sharding.same(sampling.initial_state(experiment))
        if start >= num_steps:
            _say(f"{workdir} is trained to step {start} of {num_steps}: nothing to do")
        else:
            parameters = sum(x.size for x in jax.tree.leaves(state.params))
            _say(f"{'resume at' if start else 'start from'} step {start} of {num_steps}; {parameters:,} parameters")
            observer: observe.Observer | observe.Silent = observe.Silent()
            if sharding.is_first_host():
                observer = stack.enter_context(observe.Observer(workdir, start, num_steps, progress))
            looks = None
            if "diagnostics" in experiment.config:
                looks = stack.enter_context(_Looks(experiment, dataset, workdir, observer))
            state = _loop(experiment, dataset, prior, state, start, checkpoints, observer, looks)
    return sampling.trained(experiment, state, prior)


def _say(line: str) -> None:
    """Print it, once."""
    if sharding.is_first_host():
        print(line)


def _stored_config(experiment: builders.Experiment, workdir: pathlib.Path) -> dict[str, Any] | None:
    """The config of the run that `workdir` already holds, checked to be of the same experiment."""
    existing = next(path for path in (workdir.absolute(), *workdir.absolute().parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise InputError(f"--workdir={workdir} cannot be made: {existing} is no folder that can be written to")
    stored = checkpoint.read_config(workdir) if workdir.exists() else None
    if stored is not None:
        stored = builders.normalise(stored)
        _check_same(experiment.config, stored, workdir)
    return stored


def _set_up(
    experiment: builders.Experiment,
    workdir: pathlib.Path,
    stored: dict[str, Any] | None,
    dataset: data.Dataset,
    progress: bool,
) -> Prior:
    """The run's prior: the stored one, or a fresh fit, which is stored with the config."""
    workdir.mkdir(parents=True, exist_ok=True)
    if stored is None and sharding.is_first_host():
        prior = builders.fit_prior(experiment, dataset, progress)
        arrays = builders.prior_arrays(prior)
    else:
        arrays = checkpoint.read_prior(workdir)
        prior = builders.load_prior(experiment, arrays)
    if sharding.is_first_host():
        if stored is None:
            digest = dataset.digest if isinstance(dataset, data.ArrayDataset) else None
            checkpoint.write_setup(workdir, experiment.config, arrays, digest)
        else:
            done = manifest.complete_run(workdir, stored)
            if done:
                print(done)
            if stored != experiment.config:
                checkpoint.write_config(workdir, experiment.config)
    return prior


def _check_images(experiment: builders.Experiment, dataset: data.Dataset, workdir: pathlib.Path) -> None:
    """Refuse to go on with other images than a run was begun with."""
    kept = checkpoint.read_data_digest(workdir)
    if kept is not None and isinstance(dataset, data.ArrayDataset) and dataset.digest != kept:
        raise InputError(
            f"the images in {experiment.config['data']['path']} are not those that the run in {workdir} was begun "
            "with: restore them, or use a new workdir"
        )


def _check_same(config: Mapping[str, Any], stored: Mapping[str, Any], workdir: pathlib.Path) -> None:
    """Refuse to go on with another experiment's checkpoints."""
    different = manifest.differences(manifest.fingerprint(stored), manifest.fingerprint(config))
    if different:
        raise InputError(
            f"--workdir={workdir} belongs to another experiment: {different}. Use a new workdir, or that config"
        )


class _Looks:
    """Diagnostics of one run, and its best checkpoint by them; a context manager."""

    def __init__(
        self,
        experiment: builders.Experiment,
        dataset: data.Dataset,
        workdir: pathlib.Path,
        observer: observe.Observer | observe.Silent,
    ):
        self._diagnostics = diagnostics.Diagnostics(experiment, dataset)
        self._workdir, self._observer = workdir, observer
        self._best = checkpoint.read_best(workdir)
        if self._best is not None and self._best["metric"] != self._diagnostics.best:
            self._best = None
        self._kept = checkpoint.Checkpoints(workdir, keep=1, folder=checkpoint.BEST)
        # A kill may leave a step that the record does not name yet: it is looked at again.
        recorded = None if self._best is None else self._best["step"]
        self._kept.set_aside([step for step in manifest.steps_in(workdir / checkpoint.BEST) if step != recorded])

    def __enter__(self) -> "_Looks":
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
            if sharding.is_first_host():
                checkpoint.write_best(self._workdir, self._best)
                self._kept.prune()


def _loop(
    experiment: builders.Experiment,
    dataset: data.Dataset,
    prior: Prior | HostGaussian,
    state: TrainState,
    start: int,
    checkpoints: checkpoint.Checkpoints,
    observer: observe.Observer | observe.Silent,
    looks: _Looks | None,
) -> TrainState:
    config, schedule = experiment.config["train"], experiment.schedule
    seed, batch_size = experiment.config["seed"], experiment.config["data"]["batch_size"]
    num_steps = config["num_steps"]
    root, mine = jax.random.key(seed), sharding.share(batch_size)
    everywhere = sharding.same(root)
    train_step = steps.make_train_step(experiment.recipe, experiment.optimizer)
    pending: list[steps.Metrics] = []

    def due(every: int, done: int) -> bool:
        return done % every == 0 or done == num_steps

    def load(step: int) -> tuple[jax.Array, Prior]:
        batch: Any = dataset.batch(seed, step, batch_size, mine)
        return sharding.by_sample(batch, batch_size), steps.prior_of_step(prior, root, step, batch_size)

    # The next batches are read and sent to the device while a step runs.
    with contextlib.closing(data.prefetch(load, start, num_steps)) as batches:
        for step, (batch, prior_of_step) in enumerate(batches, start):
            state, metrics = train_step(state, prior_of_step, everywhere, batch)
            pending.append(metrics)
            observer.advance()
            done = step + 1
            saves, is_looked_at = due(config["checkpoint_every"], done), looks is not None and due(looks.every, done)
            # Metrics stay on the device until here. A line is closed at every checkpoint too, so that a run that was
            # resumed writes the same lines as one that was not; and before a look, to find that training has diverged.
            if due(config["log_every"], done) or saves or is_looked_at:
                rows = jax.device_get(pending)
                _check_finite(rows, done - len(rows), checkpoints)
                observer.log(done, {**observe.mean_metrics(rows), "learning_rate": float(schedule(step))})
                pending = []
            if saves:
                checkpoints.save(done, state)
            if due(config["sample_every"], done):
                observer.picture(done, _picture(sampling.trained(experiment, state, prior), root))
            if looks is not None and is_looked_at:
                looks.look(sampling.trained(experiment, state, prior), state)
    return state


def _check_finite(rows: list[Mapping[str, np.ndarray]], first: int, checkpoints: checkpoint.Checkpoints) -> None:
    # The gradient as well as the loss: a finite loss with an infinite gradient makes bad parameters that a checkpoint
    # would keep.
    for step, row in enumerate(rows, first):
        if not (np.isfinite(row["loss"]) and np.isfinite(row["grad_norm"])):
            checkpoints.wait()
            last = checkpoints.latest_step()
            kept = "there is no checkpoint yet" if last is None else f"the last good checkpoint is step {last}"
            raise DivergedError(
                f"training diverged: loss {row['loss']:g}, gradient norm {row['grad_norm']:g} in step {step}; {kept}. "
                "Try a smaller optimizer.learning_rate or flow.step_size in a new workdir"
            )


def _picture(model: sampling.Model, root: jax.Array) -> Any:
    """Samples from the same key at every call; on other hosts than the first nothing, once they did their part."""
    count = PICTURE_IMAGES if model.experiment.is_image else PICTURE_POINTS
    samples = sampling.sample(model, rng.stream(root, "picture"), count, progress=False)
    if not sharding.is_first_host():
        return None
    return sample_files.picture(model, samples, model.experiment.config["seed"])
