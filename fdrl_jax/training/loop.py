"""The training loop: batches in; metrics, pictures and checkpoints out. It knows a method by `methods.base` alone."""

import contextlib
import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from fdrl_jax import data
from fdrl_jax.experiment import builders, checkpoint, schema
from fdrl_jax.experiment.model import Model, abstract_state, initial_state, model_from_state
from fdrl_jax.experiment.workdir_files import locked
from fdrl_jax.inference import sample_files, sampling
from fdrl_jax.methods.base import State
from fdrl_jax.methods.prior_draws import prior_of_step
from fdrl_jax.priors import HostGaussian, Prior
from fdrl_jax.training import run_log, stability
from fdrl_jax.training.best_checkpoint import BestCheckpoint
from fdrl_jax.training.parameter_table import parameter_table
from fdrl_jax.training.run_setup import check_images, set_up, stored_config
from fdrl_jax.types import DivergedError, StoppedError
from fdrl_jax.utils import rng, sharding, signals
from fdrl_jax.utils.validation import require_path

PICTURE_IMAGES = 64
PICTURE_POINTS = 2000

# Hosts agree on stopping only every so many steps, because they wait for each other to agree.
_AGREE_EVERY = 10


def train(
    config: schema.Config,
    workdir: str | pathlib.Path,
    progress: bool = True,
    stop: Callable[[], int] | None = None,
) -> Model:
    """Train to `config.train.num_steps`, from the newest checkpoint in `workdir` if there is one.

    After an interrupt (Ctrl-C, a notebook's stop button) the current step ends and is saved before KeyboardInterrupt is
    raised; a second interrupt is raised at once.

    Args:
      config: a ConfigDict or nested dicts, from `fdrl_jax.get_config` or a file of yours; its fields are in
        `experiment.schema`.
      workdir: the run's directory, made if missing; its files are listed in `experiment.workdir_files` and
        `training.run_log`.
      progress: show a progress bar.
      stop: called after steps; when it returns a number other than 0 on any host, every host saves a checkpoint and
        stops. See `signals.stop_on_signals`. By default only an interrupt stops the run.

    Returns:
      The trained model.

    Raises:
      InputError: the config is wrong, or `workdir` belongs to another experiment or cannot be written.
      DivergedError: training diverged (`training.stability`), and the config does not ask for another rollback; earlier
        checkpoints are kept.
      StoppedError: `stop` returned a number other than 0.
    """
    experiment = builders.build(config)
    workdir = require_path("workdir", workdir, "the run's directory")
    batch_size = experiment.config["data"]["batch_size"]
    experiment.method.check_batch("config.data.batch_size", batch_size, sharding.mesh())
    progress = progress and sharding.is_first_host()
    stored = stored_config(experiment, workdir)
    sharding.barrier("all have looked into the workdir")
    # Hosts that share a disk find what the first one has prepared.
    with sharding.first_host_first("data"):
        dataset = builders.dataset(experiment, progress)
        check_images(experiment, dataset, workdir)
    with contextlib.ExitStack() as stack:
        if sharding.is_first_host():
            stack.enter_context(locked(workdir))
            stored = stored_config(
                experiment, workdir
            )  # Another process may have set up the run before we got the lock.
        with sharding.first_host_first("prior"):
            fitted = set_up(experiment, workdir, stored, dataset, progress)
        prior, placement = builders.place_prior(fitted)
        if placement:
            _print_once(placement)
        checkpoints = stack.enter_context(checkpoint.Checkpoints(workdir, keep=experiment.config["train"]["keep"]))
        if stop is None:
            stop = stack.enter_context(signals.stop_on_interrupt())
        rollbacks, state = stability.read(workdir), None
        while state is None:
            try:
                run = _Run(experiment, workdir, dataset, prior, checkpoints, rollbacks, stop, progress)
                state = _train_from_newest_checkpoint(run)
            except DivergedError as error:
                checkpoints.wait()
                rollbacks = stability.roll_back(experiment.config["train"], rollbacks, error, checkpoints.newest())
                if sharding.is_first_host():
                    stability.write(workdir, rollbacks)
                _print_once(f"{error}: back to step {rollbacks[-1].to}, the learning rate times {rollbacks.rate:g}")
    return model_from_state(experiment, state, prior)


@dataclass(frozen=True)
class _Run:
    """The settings of a run, constant from one rollback to the next."""

    experiment: builders.Experiment
    workdir: pathlib.Path
    dataset: data.Dataset
    prior: Prior | HostGaussian
    checkpoints: checkpoint.Checkpoints
    rollbacks: stability.Rollbacks
    stop: Callable[[], int]
    progress: bool


def _train_from_newest_checkpoint(run: _Run) -> State:
    """The state at the end of training.

    Raises:
      DivergedError, StoppedError: training ended before.
    """
    num_steps = run.experiment.config["train"]["num_steps"]
    start = run.checkpoints.newest() or 0
    if start:
        state = run.checkpoints.restore(start, abstract_state(run.experiment))
    else:
        state = sharding.replicate(initial_state(run.experiment))
    if start >= num_steps:
        _print_once(f"{run.workdir} is trained to step {start} of {num_steps}: nothing to do")
        return state
    parameters = run.experiment.method.trained_parameters(state)
    if not start:
        _print_once(parameter_table(parameters))
    count = sum(x.size for x in jax.tree.leaves(parameters))
    back = f"; rolled back {len(run.rollbacks)} times, the learning rate times {run.rollbacks.rate:g}"
    _print_once(
        f"{'resume at' if start else 'start from'} step {start} of {num_steps}; {count:,} parameters"
        f"{back if run.rollbacks else ''}"
    )
    with contextlib.ExitStack() as stack:
        log: run_log.RunLog | run_log.NullLog = run_log.NullLog()
        if sharding.is_first_host():
            log = stack.enter_context(run_log.RunLog(run.workdir, start, num_steps, run.progress))
        best = None
        if "diagnostics" in run.experiment.config:
            best = stack.enter_context(BestCheckpoint(run.experiment, run.dataset, run.workdir, log, run.rollbacks))
        return _loop(run, state, start, log, best)


def _print_once(text: str) -> None:
    """Print on the first host alone."""
    if sharding.is_first_host():
        print(text)


def _loop(
    run: _Run, state: State, start: int, log: run_log.RunLog | run_log.NullLog, best: BestCheckpoint | None
) -> State:
    experiment, checkpoints, prior = run.experiment, run.checkpoints, run.prior
    config, batch_size = experiment.config["train"], experiment.config["data"]["batch_size"]
    num_steps = config["num_steps"]
    method = experiment.method.scale_learning_rate(run.rollbacks.rate)
    train_step = method.make_train_step()
    # After a rollback, pictures are still drawn from the same numbers.
    picture_root, own_share = jax.random.key(experiment.config["seed"]), sharding.host_share(batch_size)
    seed, root = run.rollbacks.seed(experiment.config["seed"]), run.rollbacks.root(picture_root)
    replicated_root = sharding.replicate(root)
    # Metrics of the steps since the last line of the log.
    pending: list[Any] = checkpoints.pending(start) if start else []
    # Every host reads these lines, which were written before this run started.
    monitor = stability.DivergenceMonitor(config, run_log.losses(run.workdir, start), start)
    saved = start

    def due(every: int, done: int) -> bool:
        return done % every == 0 or done == num_steps

    def load(step: int) -> tuple[jax.Array, Prior]:
        batch: Any = run.dataset.batch(seed, step, batch_size, own_share)
        return sharding.assemble_by_sample(batch, batch_size), prior_of_step(prior, root, step, batch_size)

    def save(done: int, state: State, pending: list[Any]) -> None:
        nonlocal saved
        rows = jax.device_get(pending)
        monitor.check(rows, done - len(rows))
        checkpoints.save(done, state, rows)
        saved = done

    # The next batches are read and sent to the device while a step runs.
    with contextlib.closing(data.prefetch(load, start, num_steps)) as batches:
        for step, (batch, step_prior) in enumerate(batches, start):
            state, metrics = train_step(state, step_prior, replicated_root, batch)
            done = step + 1
            pending.append(metrics)
            log.advance()
            saves = due(config["checkpoint_every"], done)
            measures = best is not None and due(best.every, done)
            # Metrics stay on the device until here. A line is closed at every checkpoint too, so that a resumed run
            # writes the same lines as one that was never stopped; and before diagnostics, to detect divergence first.
            if due(config["log_every"], done) or saves or measures:
                rows = jax.device_get(pending)
                monitor.check(rows, done - len(rows))
                line = run_log.line_of(rows, method.reductions)
                log.log(done, {**line, "learning_rate": method.learning_rate(step)}, method.progress(line))
                monitor.logged(line["loss"])
                pending = []
            if due(config["sample_every"], done):
                log.picture(done, _picture(model_from_state(experiment, state, prior), picture_root))
            if best is not None and measures:
                best.measure(model_from_state(experiment, state, prior), state)
            # The checkpoint comes last: a run that resumes from it does not repeat the rest of this step.
            if saves:
                save(done, state, pending)
            reason = _asked_to_stop(run.stop, done) if done < num_steps else 0
            if reason:
                if saved != done:
                    save(done, state, pending)
                checkpoints.wait()
                sharding.barrier("the last step is saved")
                message = f"stopped after step {done} of {num_steps}, which is saved: the same command goes on"
                raise StoppedError(message, reason)
    return state


def _asked_to_stop(stop: Callable[[], int], done: int) -> int:
    """The signal that asks the run to stop, the same on every host; 0 to continue."""
    reason = stop()
    if jax.process_count() > 1:
        return 0 if done % _AGREE_EVERY else sharding.max_over_hosts(reason)
    return reason


def _picture(model: Model, root: jax.Array) -> Any:
    """A picture of samples from the same key at every call; None on every host but the first."""
    count = PICTURE_IMAGES if model.experiment.is_image else PICTURE_POINTS
    samples = sampling.sample(model, rng.stream(root, "picture"), count, progress=False)
    if not sharding.is_first_host():
        return None
    return sample_files.picture(model, samples, model.experiment.config["seed"])
