"""The training loop: batches in, metrics, pictures and checkpoints out."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax

from fdrl_jax import (
    builders,
    checkpoint,
    data,
    guard,
    looks,
    manifest,
    observe,
    rng,
    sample_files,
    sampling,
    schema,
    sharding,
    steps,
    stopping,
)
from fdrl_jax.arguments import require_path
from fdrl_jax.priors import HostGaussian, Prior
from fdrl_jax.state import TrainState
from fdrl_jax.types import DivergedError, InputError, StoppedError

PICTURE_IMAGES = 64
PICTURE_POINTS = 2000

# Steps between two questions whether any host was told to stop.
_AGREE_EVERY = 10


def train(
    config: schema.Config,
    workdir: str | pathlib.Path,
    progress: bool = True,
    stop: Callable[[], int] | None = None,
) -> sampling.Model:
    """Train to `config.train.num_steps`, from the newest checkpoint in `workdir` if there is one.

    An interrupt (Ctrl-C, a notebook's stop button) lets the step under way end and saves it before it is raised; a
    second one is raised at once.

    Args:
      config: see `schema`; a ConfigDict or nested dicts.
      workdir: made if missing. What is written there: `checkpoint` and `observe`.
      progress: show a progress bar.
      stop: asked after steps; a number other than 0, on any host, saves a checkpoint and ends the run on all:
        `stopping.by_signals`.

    Returns:
      The trained model.

    Raises:
      InputError: the config is wrong, or `workdir` belongs to another experiment or cannot be written.
      DivergedError: numbers went bad (`guard`), and the config does not say to roll back, or not so often; checkpoints
        up to there are kept.
      StoppedError: `stop` said so.
    """
    experiment = builders.build(config)
    workdir = require_path("workdir", workdir, "the run's directory")
    batch_size = experiment.config["data"]["batch_size"]
    steps.check_batch("config.data.batch_size", experiment.recipe, batch_size, sharding.mesh())
    progress = progress and sharding.is_first_host()
    stored = _stored_config(experiment, workdir)
    sharding.wait_for_all("all have looked into the workdir")
    # What one host prepares the others find, where they share the disk.
    with sharding.first_host_first("data"):
        dataset = builders.dataset(experiment, progress)
        _check_images(experiment, dataset, workdir)
    with contextlib.ExitStack() as stack:
        if sharding.is_first_host():
            stack.enter_context(checkpoint.locked(workdir))
            stored = _stored_config(experiment, workdir)  # Another process may have set it up meanwhile.
        with sharding.first_host_first("prior"):
            fitted = _set_up(experiment, workdir, stored, dataset, progress)
        prior, placement = builders.place_prior(fitted)
        if placement:
            _say(placement)
        checkpoints = stack.enter_context(checkpoint.Checkpoints(workdir, keep=experiment.config["train"]["keep"]))
        if stop is None:
            stop = stack.enter_context(stopping.by_interrupt())
        rollbacks, state = guard.read(workdir), None
        while state is None:
            try:
                run = _Run(experiment, workdir, dataset, prior, checkpoints, rollbacks, stop, progress)
                state = _from_newest_checkpoint(run)
            except DivergedError as error:
                checkpoints.wait()
                rollbacks = guard.roll_back(experiment.config["train"], rollbacks, error, checkpoints.newest())
                if sharding.is_first_host():
                    guard.write(workdir, rollbacks)
                _say(f"{error}: back to step {rollbacks[-1].to}, the learning rate times {rollbacks.rate:g}")
    return sampling.trained(experiment, state, prior)


@dataclass(frozen=True)
class _Run:
    """What stays the same while a run trains from one checkpoint on."""

    experiment: builders.Experiment
    workdir: pathlib.Path
    dataset: data.Dataset
    prior: Prior | HostGaussian
    checkpoints: checkpoint.Checkpoints
    rollbacks: guard.Rollbacks
    stop: Callable[[], int]
    progress: bool


def _from_newest_checkpoint(run: _Run) -> TrainState:
    """Train to the end, or to what is raised."""
    num_steps = run.experiment.config["train"]["num_steps"]
    start = run.checkpoints.newest() or 0
    if start:
        state = run.checkpoints.restore(start, sampling.abstract_state(run.experiment))
    else:
        state = sharding.same(sampling.initial_state(run.experiment))
    if start >= num_steps:
        _say(f"{run.workdir} is trained to step {start} of {num_steps}: nothing to do")
        return state
    parameters = sum(x.size for x in jax.tree.leaves(state.params))
    back = f"; rolled back {len(run.rollbacks)} times, the learning rate times {run.rollbacks.rate:g}"
    _say(
        f"{'resume at' if start else 'start from'} step {start} of {num_steps}; {parameters:,} parameters"
        f"{back if run.rollbacks else ''}"
    )
    with contextlib.ExitStack() as stack:
        observer: observe.Observer | observe.Silent = observe.Silent()
        if sharding.is_first_host():
            observer = stack.enter_context(observe.Observer(run.workdir, start, num_steps, run.progress))
        seen = None
        if "diagnostics" in run.experiment.config:
            seen = stack.enter_context(looks.Looks(run.experiment, run.dataset, run.workdir, observer, run.rollbacks))
        return _loop(run, state, start, observer, seen)


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
        guard.clear(workdir)
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
        begun = any(manifest.steps_in(workdir / checkpoint.CHECKPOINTS))
        remedy = "Use a new workdir, or that config" + ("" if begun else "; or remove it, as it has no checkpoint")
        raise InputError(f"--workdir={workdir} belongs to another experiment: {different}. {remedy}")


def _loop(
    run: _Run, state: TrainState, start: int, observer: observe.Observer | observe.Silent, seen: looks.Looks | None
) -> TrainState:
    experiment, checkpoints, prior = run.experiment, run.checkpoints, run.prior
    config, batch_size = experiment.config["train"], experiment.config["data"]["batch_size"]
    num_steps = config["num_steps"]
    slowed = builders.slowed(experiment, run.rollbacks.rate)
    train_step = steps.make_train_step(slowed.recipe, slowed.optimizer)
    # Pictures are drawn from the same numbers after a rollback too.
    picture_root, mine = jax.random.key(experiment.config["seed"]), sharding.share(batch_size)
    seed, root = run.rollbacks.seed(experiment.config["seed"]), run.rollbacks.root(picture_root)
    everywhere = sharding.same(root)
    # Of the steps since the last line of the log.
    pending: list[Any] = checkpoints.pending(start) if start else []
    # All hosts read the lines, which are older than this run.
    watch = guard.Watch(config, observe.losses(run.workdir, start), start)
    saved = start

    def due(every: int, done: int) -> bool:
        return done % every == 0 or done == num_steps

    def load(step: int) -> tuple[jax.Array, Prior]:
        batch: Any = run.dataset.batch(seed, step, batch_size, mine)
        return sharding.by_sample(batch, batch_size), steps.prior_of_step(prior, root, step, batch_size)

    def save(done: int, state: TrainState, pending: list[Any]) -> None:
        nonlocal saved
        rows = jax.device_get(pending)
        watch.check(rows, done - len(rows))
        checkpoints.save(done, state, rows)
        saved = done

    # The next batches are read and sent to the device while a step runs.
    with contextlib.closing(data.prefetch(load, start, num_steps)) as batches:
        for step, (batch, prior_of_step) in enumerate(batches, start):
            state, metrics = train_step(state, prior_of_step, everywhere, batch)
            done = step + 1
            pending.append(metrics)
            observer.advance()
            saves = due(config["checkpoint_every"], done)
            is_looked_at = seen is not None and due(seen.every, done)
            # Metrics stay on the device until here. A line is closed at every checkpoint too, so that a run that
            # was resumed writes the same lines as one that was not; and before a look, to find that training has
            # diverged.
            if due(config["log_every"], done) or saves or is_looked_at:
                rows = jax.device_get(pending)
                watch.check(rows, done - len(rows))
                line = observe.line_of(rows)
                observer.log(done, {**line, "learning_rate": float(slowed.schedule(step))})
                watch.logged(line["loss"])
                pending = []
            if due(config["sample_every"], done):
                observer.picture(done, _picture(sampling.trained(experiment, state, prior), picture_root))
            if seen is not None and is_looked_at:
                seen.look(sampling.trained(experiment, state, prior), state)
            # After all else of the step: a run that goes on from here does not come back to it.
            if saves:
                save(done, state, pending)
            reason = _asked_to_stop(run.stop, done) if done < num_steps else 0
            if reason:
                if saved != done:
                    save(done, state, pending)
                checkpoints.wait()
                sharding.wait_for_all("the last step is saved")
                saying = f"stopped after step {done} of {num_steps}, which is saved: the same command goes on"
                raise StoppedError(saying, reason)
    return state


def _asked_to_stop(stop: Callable[[], int], done: int) -> int:
    """What the hosts, all alike, were asked for: 0 to go on."""
    reason = stop()
    # To agree they wait for one another, which they do not at every step.
    if jax.process_count() > 1:
        return 0 if done % _AGREE_EVERY else sharding.most(reason)
    return reason


def _picture(model: sampling.Model, root: jax.Array) -> Any:
    """Samples from the same key at every call; on other hosts than the first nothing, once they did their part."""
    count = PICTURE_IMAGES if model.experiment.is_image else PICTURE_POINTS
    samples = sampling.sample(model, rng.stream(root, "picture"), count, progress=False)
    if not sharding.is_first_host():
        return None
    return sample_files.picture(model, samples, model.experiment.config["seed"])
