"""A classifier of digits so small that a test can train it in seconds, and one saved without training."""

import pathlib
from typing import Any

import jax
from ml_collections import ConfigDict

from configs import classifier
from fdrl_jax.experiment.workdir_files import write_setup
from fdrl_jax.inference.classifiers import trained


def config(variant: str = "digits", **train: Any) -> ConfigDict:
    """Return a shipped classifier config with a small network; `train` replaces fields of its group of that name."""
    result = classifier.get_config(variant)
    result.model.update(stem=4, stages=((8, 1, 2),))
    result.attack.num_steps = 2
    result.data.batch_size = 32
    result.optimizer.update(learning_rate=1e-2, decay_steps=())
    result.train.update(dict(num_steps=90, log_every=30, num_held_out=60) | train)
    return result


def initial_params(config: dict[str, Any]) -> Any:
    """Return the parameters before training, for a normalised config."""
    return trained.network(config).start(jax.random.key(0), trained.event_shape(config))


def saved(workdir: pathlib.Path) -> pathlib.Path:
    """Write an untrained classifier to a folder, as `--mode=train_classifier` would write it, and return the folder."""
    normalised = trained.normalise(config())
    workdir.mkdir(parents=True, exist_ok=True)
    write_setup(workdir, normalised, {})
    trained.save(workdir, initial_params(normalised), {})
    return workdir
