"""Draw or read samples, compare them with the reference, and record each number with its protocol."""

import datetime
import pathlib
import platform
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from fdrl_jax.evaluation import features
from fdrl_jax.evaluation.metrics import CONFIDENCE
from fdrl_jax.evaluation.protocols.compute_metric import compute_metric
from fdrl_jax.evaluation.protocols.feature_vectors import chunks, to_vectors
from fdrl_jax.evaluation.protocols.metric_names import MIN_SAMPLES, Metric
from fdrl_jax.evaluation.protocols.read_samples import read_samples
from fdrl_jax.evaluation.protocols.reference_set import build_reference_set
from fdrl_jax.evaluation.protocols.results_file import Result
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import Model
from fdrl_jax.inference.sampling import batches
from fdrl_jax.types import InputError
from fdrl_jax.utils.version import __version__


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
    """Return metrics of samples against the training data.

    Images are compared as a PNG would store them, uint8, except where the protocol of a space says otherwise. Samples
    are drawn and mapped to features a batch at a time, and only the features are kept.

    Args:
      model: result of `loading.load`.
      metrics: result of `parse`.
      num_samples, seed, num_steps, batch_size: see `sampling.sample`.
      samples: samples to evaluate instead of the model's: float [n, *event] in [-1, 1], uint8 images, an .npz file with
        an array `samples`, or a folder of PNG files.
      num_reference: number of training images, always the same ones; None for all. For runs on points, number of fresh
        draws; None for as many as samples.
      reference: statistics file of pytorch-fid (.npz) or torch-fidelity (.pt) to use instead of the training images,
        for Frechet distances.
      weights: file of the feature network's weights; None for the installed, cached or downloaded file.
      ema: True if the model's parameters are averages; recorded in the results.
      replicates: number of bootstrap replicates.
      cache: folder where the features of the training images are stored; None to compute them each time.
      progress: show progress bars.

    Raises:
      InputError: an argument is out of range, a file is missing or damaged, or a cached reference was made of other
        images or by another protocol.
    """
    _check_metrics(model, metrics, reference)
    spaces = {m.features: features.get(m.features, weights) for m in metrics}
    num_steps = model.experiment.flow_length() if num_steps is None else num_steps
    for metric in metrics if samples is None else ():
        if num_samples < MIN_SAMPLES[metric.metric]:
            minimum = MIN_SAMPLES[metric.metric]
            raise InputError(f"num_samples = {num_samples} must be at least {minimum} for {metric.metric}")
    if samples is None:
        source, sample_batches = "the model's", batches(model, seed, num_samples, num_steps, batch_size, progress)
    else:
        array, source = read_samples(samples, model.experiment.event_shape)
        num_samples, sample_batches = len(array), chunks(array)
    references = {
        name: build_reference_set(model, space, reference, num_samples, num_reference, seed, cache)
        for name, space in spaces.items()
    }
    vectors = to_vectors(sample_batches, list(spaces.values()))
    results = []
    for metric in metrics:
        space, compared = spaces[metric.features], references[metric.features]
        start = time.perf_counter()
        numbers, warnings = compute_metric(metric.metric, compared, vectors[metric.features], replicates)
        for name, (value, interval) in numbers.items():
            results.append(
                Result(
                    metric=name,
                    features=space.name,
                    name=metric.name,
                    protocol=space.protocol,
                    value=value,
                    interval=interval,
                    confidence=CONFIDENCE,
                    num_samples=num_samples,
                    num_reference=compared.count,
                    dataset=builders.dataset_name(model.experiment),
                    reference=compared.description,
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


def _provenance() -> dict[str, Any]:
    """Return versions, device and date, for the fields of `Result`."""
    device = jax.devices()[0]
    return {
        "versions": {"fdrl_jax": __version__, "jax": jax.__version__, "python": platform.python_version()},
        "device": f"{device.platform} ({device.device_kind})",
        "date": datetime.date.today().isoformat(),
    }


def _check_metrics(model: Model, metrics: Sequence[Metric], reference: pathlib.Path | None) -> None:
    """Refuse metrics that do not fit the run or the reference.

    Raises:
      InputError: a metric is in a space of images and the run's samples are points, or a metric other than frechet is
        to be computed from a statistics file.
    """
    if not model.experiment.is_image:
        for name in (metric.features for metric in metrics):
            if name != "pixels":
                raise InputError(
                    f"--metrics: the features {name!r} are of images, but this run makes points: use METRIC@pixels"
                )
    if reference is not None:
        for metric in metrics:
            if metric.metric != "frechet":
                raise InputError(
                    f"--reference={reference} has only a mean and a covariance, but {metric.metric} compares examples: "
                    "leave --reference out, or use only Frechet distances in --metrics"
                )
