"""Metrics of a run's samples (`--mode=evaluate`), each with the protocol that it follows.

A metric is asked for as METRIC@FEATURES: what is computed, and in which space. Results are appended to
WORKDIR/evaluation.jsonl, one JSON object a line (the fields of `Result`). Features of the reference images are kept in
WORKDIR/reference/, with a fingerprint of the images and the protocol.
"""

import datetime
import os
import pathlib
import platform
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from fdrl_jax import builders, evaluation, features
from fdrl_jax.evaluate.measure import measure
from fdrl_jax.evaluate.results import LEAST
from fdrl_jax.evaluate.results import RESULTS_FILE as RESULTS_FILE
from fdrl_jax.evaluate.results import Metric as Metric
from fdrl_jax.evaluate.results import Result as Result
from fdrl_jax.evaluate.results import parse as parse
from fdrl_jax.evaluate.results import write_results as write_results
from fdrl_jax.evaluate.sets import REFERENCE_FOLDER as REFERENCE_FOLDER
from fdrl_jax.evaluate.sets import chunks, read_samples, reference_set, to_vectors
from fdrl_jax.sampling import Model, batches
from fdrl_jax.types import InputError
from fdrl_jax.version import __version__


def evaluate(
    model: Model,
    metrics: Sequence[Metric],
    *,
    num_samples: int,
    seed: int = 0,
    num_steps: int | None = None,
    batch_size: int | None = None,
    samples: np.ndarray | pathlib.Path | None = None,
    num_reference: int | None = None,
    reference: pathlib.Path | None = None,
    weights: pathlib.Path | None = None,
    ema: bool = True,
    replicates: int = 50,
    cache: pathlib.Path | None = None,
    progress: bool = True,
) -> list[Result]:
    """Draw samples and compare them with the training data.

    Images are compared as a PNG would keep them, uint8, except where a space's protocol says otherwise. They are drawn,
    mapped to features and dropped a batch at a time.

    Args:
      model: from `loading.load`.
      metrics: from `parse`.
      num_samples, seed, num_steps, batch_size: see `sampling.sample`.
      samples: given ones instead: float [n, *event] in [-1, 1], uint8 images, an .npz file with `samples`, or a folder
        of PNG files.
      num_reference: how many training images, of a fixed order; all by default. Of points, that many fresh draws.
      reference: a statistics file of pytorch-fid (.npz) or torch-fidelity (.pt) instead, for Frechet distances.
      weights: of the feature network, where its own place is not to be looked in.
      ema: whether the model's parameters are averages; for the record.
      replicates: of the bootstrap.
      cache: a folder to keep the reference's features in.
      progress: show progress bars.

    Raises:
      InputError: an argument is out of range, a file is missing or broken, or a kept reference is of other images or
        another protocol.
    """
    _check(model, metrics, reference)
    spaces = {m.features: features.get(m.features, weights) for m in metrics}
    num_steps = model.experiment.flow_length() if num_steps is None else num_steps
    for metric in metrics if samples is None else ():
        if num_samples < LEAST[metric.metric]:
            raise InputError(f"num_samples = {num_samples} must be at least {LEAST[metric.metric]} for {metric.metric}")
    if samples is None:
        source, drawn = "the model's", batches(model, seed, num_samples, num_steps, batch_size, progress)
    else:
        given, source = read_samples(samples, model.experiment.event_shape)
        num_samples, drawn = len(given), chunks(given)
    references = {
        name: reference_set(model, space, reference, num_samples, num_reference, seed, cache)
        for name, space in spaces.items()
    }
    vectors = to_vectors(drawn, list(spaces.values()))
    results = []
    for metric in metrics:
        space, compared = spaces[metric.features], references[metric.features]
        start = time.perf_counter()
        numbers, warnings = measure(metric.metric, compared, vectors[metric.features], replicates)
        for name, (value, interval) in numbers.items():
            results.append(
                Result(
                    metric=name,
                    features=space.name,
                    name=metric.name,
                    protocol=space.protocol,
                    value=value,
                    interval=interval,
                    confidence=evaluation.CONFIDENCE,
                    num_samples=num_samples,
                    num_reference=compared.count,
                    dataset=builders.dataset_name(model.experiment),
                    reference=compared.where,
                    samples=source,
                    seed=seed,
                    step=model.step,
                    ema=ema,
                    flow_steps=num_steps,
                    warnings=tuple(warnings),
                    **_provenance(),
                    seconds=round(time.perf_counter() - start, 1),
                )
            )
    return results


def write_reference(
    model: Model,
    metric: Metric,
    path: pathlib.Path,
    weights: pathlib.Path | None = None,
    num_reference: int | None = None,
    cache: pathlib.Path | None = None,
) -> None:
    """Mean and covariance of the training images in a metric's space, as pytorch-fid or torch-fidelity keep them.

    Args:
      model: whose data.
      metric: whose features.
      path: .npz (pytorch-fid) or .pt (torch-fidelity).
      weights, num_reference, cache: see `evaluate`.

    Raises:
      InputError: as `evaluate`, `path` has another suffix, or something is there already.
    """
    if path.exists():
        raise InputError(f"{path} is there already: name another file")
    if path.suffix not in (".npz", ".pt"):
        raise InputError(f"{path}: statistics are .npz files of pytorch-fid or .pt files of torch-fidelity")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"--write_reference={path} cannot be written: check {path.parent}")
    space = features.get(metric.features, weights)
    reference = reference_set(model, space, None, 0, num_reference, 0, cache)
    assert reference.vectors is not None
    moments = evaluation.Moments(chunks(reference.vectors))
    features.write_statistics(path, moments.mean, moments.covariance, space.fingerprint)


def _provenance() -> dict[str, Any]:
    device = jax.devices()[0]
    return {
        "versions": {"fdrl_jax": __version__, "jax": jax.__version__, "python": platform.python_version()},
        "device": f"{device.platform} ({device.device_kind})",
        "date": datetime.date.today().isoformat(),
    }


def _check(model: Model, metrics: Sequence[Metric], reference: pathlib.Path | None) -> None:
    if not model.experiment.is_image:
        for name in (metric.features for metric in metrics):
            if name != "pixels":
                raise InputError(f"--metrics in the features {name!r} are of images, and this run makes points")
    if reference is not None:
        for metric in metrics:
            if metric.metric != "frechet":
                raise InputError(
                    f"--reference={reference} has a mean and a covariance, and {metric.metric} compares examples: "
                    "leave --reference out, or ask for Frechet distances only"
                )
