"""The training loop: batches in, metrics, pictures and checkpoints out."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdrl_jax import builders, checkpoint, observe, rng, sampling, schema, steps
from fdrl_jax.priors import Prior
from fdrl_jax.state import TrainState
from fdrl_jax.types import DivergedError, InputError

# Groups that may change between the runs of one directory: they do not change what a step computes.
_MAY_CHANGE = ("train",)

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
    prior = _set_up(experiment, workdir)
    with checkpoint.Checkpoints(workdir, keep=experiment.config["train"]["keep"]) as checkpoints:
        start = checkpoints.latest_step() or 0
        if start:
            state = checkpoints.restore(start, sampling.abstract_state(experiment))
        else:
            state = sampling.initial_state(experiment)
        if start >= num_steps:
            print(f"{workdir} is trained to step {start} of {num_steps}: nothing to do")
        else:
            parameters = sum(x.size for x in jax.tree.leaves(state.params))
            print(f"{'resume at' if start else 'start from'} step {start} of {num_steps}; {parameters:,} parameters")
            with observe.Observer(workdir, start, num_steps, progress) as observer:
                state = _loop(experiment, prior, state, start, checkpoints, observer)
    return sampling.Model(experiment, state.ema_params, prior, max(start, num_steps))


def _set_up(experiment: builders.Experiment, workdir: pathlib.Path) -> Prior:
    """The run's prior: the stored one, or a fresh fit, which is stored with the config."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--workdir={workdir} cannot be made ({error.strerror}): choose another") from None
    stored = checkpoint.read_config(workdir)
    if stored is None:
        prior = builders.fit_prior(experiment)
        arrays = builders.prior_arrays(prior)
    else:
        _check_same(experiment.config, builders.normalise(stored), workdir)
        arrays = checkpoint.read_prior(workdir)
        prior = builders.load_prior(experiment, arrays)
    if stored is None or builders.normalise(stored) != experiment.config:
        checkpoint.write_setup(workdir, experiment.config, arrays if stored is None else {})
    return prior


def _check_same(config: Mapping[str, Any], stored: Mapping[str, Any], workdir: pathlib.Path) -> None:
    """Refuse to go on with another experiment's checkpoints."""

    def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
        if not isinstance(tree, Mapping):
            return {prefix: tree}
        return {k: v for name, sub in tree.items() for k, v in flat(sub, f"{prefix}.{name}").items()}

    old, new = flat(stored, "config"), flat(config, "config")
    different = [
        f"{name} is {old.get(name, 'absent')!r} there and {new.get(name, 'absent')!r} here"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and name.split(".")[1] not in _MAY_CHANGE
    ]
    if different:
        more = f" (and {len(different) - 3} more)" if len(different) > 3 else ""
        raise InputError(
            f"--workdir={workdir} belongs to another experiment: {'; '.join(different[:3])}{more}. "
            "Use a new workdir, or that config"
        )


def _loop(
    experiment: builders.Experiment,
    prior: Prior,
    state: TrainState,
    start: int,
    checkpoints: checkpoint.Checkpoints,
    observer: observe.Observer,
) -> TrainState:
    config, schedule = experiment.config["train"], experiment.schedule
    seed, batch_size = experiment.config["seed"], experiment.config["data"]["batch_size"]
    num_steps = config["num_steps"]
    root = jax.random.key(seed)
    train_step = steps.make_train_step(experiment.recipe, experiment.optimizer)
    pending: list[steps.Metrics] = []
    for step in range(start, num_steps):
        batch = experiment.dataset.batch(seed, step, batch_size)
        state, metrics = train_step(state, prior, root, jnp.asarray(batch))
        pending.append(metrics)
        observer.advance()
        done = step + 1

        def due(name: str, done: int = done) -> bool:
            return done % config[name] == 0 or done == num_steps

        # Metrics stay on the device until here. A line is closed at every checkpoint too, so that a run that was
        # resumed writes the same lines as one that was not.
        if due("log_every") or due("checkpoint_every"):
            rows = jax.device_get(pending)
            _check_finite(rows, done - len(rows), checkpoints)
            observer.log(done, {**observe.mean_metrics(rows), "learning_rate": float(schedule(step))})
            pending = []
        if due("checkpoint_every"):
            checkpoints.save(done, state)
        if due("sample_every"):
            model = sampling.Model(experiment, state.ema_params, prior, done)
            observer.picture(done, _picture(model, root))
    return state


def _check_finite(rows: list[Mapping[str, np.ndarray]], first: int, checkpoints: checkpoint.Checkpoints) -> None:
    # The gradient as well as the loss: a finite loss with an infinite gradient makes bad parameters that a checkpoint
    # would keep.
    for step, row in enumerate(rows, first):
        if not (np.isfinite(row["loss"]) and np.isfinite(row["grad_norm"])):
            last = checkpoints.latest_step()
            kept = "there is no checkpoint yet" if last is None else f"the last good checkpoint is step {last}"
            raise DivergedError(
                f"training diverged: loss {row['loss']:g}, gradient norm {row['grad_norm']:g} in step {step}; {kept}. "
                "Try a smaller optimizer.learning_rate or flow.step_size in a new workdir"
            )


def _picture(model: sampling.Model, root: jax.Array) -> Any:
    """Samples from the same key at every call."""
    count = PICTURE_IMAGES if model.experiment.is_image else PICTURE_POINTS
    samples = sampling.sample(model, rng.stream(root, "picture"), count, progress=False)
    return sampling.picture(model, samples, model.experiment.config["seed"])
