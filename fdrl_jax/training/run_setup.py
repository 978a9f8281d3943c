"""The workdir of a training run: set up for a new run, checked for one that resumes."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from fdrl_jax import data
from fdrl_jax.experiment import builders, manifest
from fdrl_jax.experiment.config_changes import differences, fixed_fields
from fdrl_jax.experiment.manifest import CHECKPOINTS
from fdrl_jax.experiment.workdir_files import read_config, read_data_digest, read_prior, write_config, write_setup
from fdrl_jax.priors import Prior
from fdrl_jax.training import stability
from fdrl_jax.types import InputError
from fdrl_jax.utils import sharding


def stored_config(experiment: builders.Experiment, workdir: pathlib.Path) -> dict[str, Any] | None:
    """The config of the run that `workdir` already holds; None without a run.

    Raises:
      InputError: that run belongs to another experiment, or `workdir` cannot be made.
    """
    existing = next(path for path in (workdir.absolute(), *workdir.absolute().parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise InputError(f"--workdir={workdir} cannot be made: {existing} is no folder that can be written to")
    stored = read_config(workdir) if workdir.exists() else None
    if stored is not None:
        stored = builders.normalise(stored)
        _check_same_experiment(experiment.config, stored, workdir)
    return stored


def _check_same_experiment(config: Mapping[str, Any], stored: Mapping[str, Any], workdir: pathlib.Path) -> None:
    different = differences(fixed_fields(stored), fixed_fields(config))
    if different:
        has_checkpoints = any(manifest.steps_in(workdir / CHECKPOINTS))
        remedy = "Use a new workdir, or that config" + (
            "" if has_checkpoints else "; or remove it, as it has no checkpoint"
        )
        raise InputError(f"--workdir={workdir} belongs to another experiment: {different}. {remedy}")


def check_images(experiment: builders.Experiment, dataset: data.Dataset, workdir: pathlib.Path) -> None:
    """Refuse to resume a run with other images than it was started with.

    Raises:
      InputError: the digest of the images differs from the stored one.
    """
    kept = read_data_digest(workdir)
    if kept is not None and isinstance(dataset, data.ArrayDataset) and dataset.digest != kept:
        raise InputError(
            f"the images in {experiment.config['data']['path']} are not those that the run in {workdir} was begun "
            "with: restore them, or use a new workdir"
        )


def set_up(
    experiment: builders.Experiment,
    workdir: pathlib.Path,
    stored: dict[str, Any] | None,
    dataset: data.Dataset,
    progress: bool,
) -> Prior:
    """The run's prior: the stored one, or a new fit, which is stored together with the config.

    Args:
      experiment: the experiment to train.
      workdir: the run's directory; made if missing.
      stored: from `stored_config`.
      dataset: the training data, to which a new prior is fitted.
      progress: show progress bars.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    if stored is None and sharding.is_first_host():
        stability.clear(workdir)
        prior = builders.fit_prior(experiment, dataset, progress)
        arrays = builders.prior_arrays(prior)
    else:
        arrays = read_prior(workdir)
        prior = builders.load_prior(experiment, arrays)
    if sharding.is_first_host():
        if stored is None:
            digest = dataset.digest if isinstance(dataset, data.ArrayDataset) else None
            write_setup(workdir, experiment.config, arrays, digest)
        else:
            report = manifest.complete_run(workdir, stored)
            if report:
                print(report)
            if stored != experiment.config:
                write_config(workdir, experiment.config)
    return prior
