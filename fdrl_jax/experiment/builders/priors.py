"""Build the prior that a config describes: fitted to the data, or loaded from the arrays that a run stored."""

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fdrl_jax import data, priors
from fdrl_jax.experiment.builders.datasets import cache_root, prior_source
from fdrl_jax.experiment.builders.experiment import Experiment
from fdrl_jax.priors import prior_distance
from fdrl_jax.types import InputError
from fdrl_jax.utils import sharding

# The largest number of values in an image for which a fitted low-rank prior is compared with the exact Gaussian. The
# comparison takes up to a minute on 2 cores.
_MAX_COMPARED_SIZE = 3072


def fit_prior(experiment: Experiment, dataset: data.Dataset, progress: bool = True) -> priors.Prior:
    """Return the config's prior: fit a data-dependent one to `dataset`, or read the images of an empirical one.

    Raises:
      InputError: see `priors.fit_gaussian`, `priors.fit_low_rank` and, for an empirical prior, `data.prepare`.
    """
    config, prior = experiment.config, experiment.config["prior"]
    if prior["name"] == "ddp":
        assert isinstance(dataset, data.ArrayDataset)  # Checked by `experiment._check_fit`.
        exact = not prior["rank"] or math.prod(experiment.event_shape) <= _MAX_COMPARED_SIZE
        fitted = priors.fit_gaussian(dataset.examples, prior["jitter"], progress=progress) if exact else None
        if fitted is not None and not prior["rank"]:
            return fitted
        low_rank = priors.fit_low_rank(dataset.examples, prior["rank"], prior["jitter"], progress=progress)
        line = f"prior: rank {prior['rank']} keeps {low_rank.variance_kept():.2%} of the variance"
        if fitted is not None:
            line += f"; Bures-Wasserstein distance to the exact Gaussian {prior_distance(low_rank, fitted):.4g}"
        print(line)
        return low_rank
    if prior["name"] == "dataset":
        source = prior_source(experiment)
        assert source is not None
        return _empirical(config["data"], data.prepare(source, cache_root(config["data"]), progress).images)
    return _simple_prior(experiment)


def place_prior(prior: priors.Prior) -> tuple[priors.Prior | priors.HostGaussian, str]:
    """Place a prior on the devices or the host, depending on its size.

    Every device holds a copy if it fits; otherwise the devices share the prior; and if it is too large for all of them
    together, the host draws from it ahead of time.

    Returns:
      The placed prior, and a line for the log; the line is "" for a prior that is not Gaussian.
    """
    if not isinstance(prior, (priors.Gaussian, priors.LowRankGaussian)):
        return prior if isinstance(prior, (priors.HostGaussian, priors.FixedImages)) else sharding.replicate(prior), ""
    largest = prior.factor if isinstance(prior, priors.Gaussian) else prior.basis
    line = f"prior: {largest.nbytes / 2**20:,.0f} MiB, {prior_placement(largest.nbytes)}"
    return priors.place(prior, list(sharding.mesh().devices.flat)), line


def prior_placement(num_bytes: int) -> str:
    """Describe in words where `place_prior` puts a prior of `num_bytes` bytes."""
    count, memory = sharding.mesh().size, priors.device_memory(jax.local_devices()[0])
    match priors.placement(num_bytes, memory, count):
        case "replicated":
            devices = "one device (of" if count == 1 else f"each of {count} devices (of"
            return f"on {devices} {memory / 2**30:,.0f} GiB)"
        case "sharded":
            return f"spread over {count} devices (of {memory / 2**30:,.0f} GiB each)"
    return f"on the host, drawn ahead of time (a device has {memory / 2**30:,.0f} GiB)"


def blank_prior(experiment: Experiment) -> priors.Prior:
    """Return the config's prior with arrays of zeros that take no memory, for compiling programs.

    An empirical prior has the number of its images, or one image if their files do not exist.
    """
    prior, shape = experiment.config["prior"], experiment.event_shape
    size = math.prod(shape)

    def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
        return np.broadcast_to(np.zeros((), dtype), shape)

    if prior["name"] == "ddp" and prior["rank"]:
        return priors.LowRankGaussian(zeros(*shape), zeros(size, prior["rank"]), zeros(*shape))
    if prior["name"] == "ddp":
        return priors.Gaussian(zeros(*shape), zeros(size, size))
    if prior["name"] == "dataset":
        count = 1
        with contextlib.suppress(InputError):
            source = prior_source(experiment)
            count = len(source.reader) if source is not None else 1
        return _empirical(experiment.config["data"], zeros(count, *shape, dtype=np.uint8))
    return _simple_prior(experiment)


def _simple_prior(experiment: Experiment) -> priors.Prior:
    prior, shape = experiment.config["prior"], experiment.event_shape
    return priors.Normal(shape, prior["scale"]) if prior["name"] == "normal" else priors.Uniform(shape)


def _empirical(config: Mapping[str, Any], images: np.ndarray) -> priors.Empirical:
    return priors.Empirical(images, config["dequantize_sigma"], config["flip"])


def prior_arrays(prior: priors.Prior) -> dict[str, np.ndarray]:
    """Return the arrays of a prior that must be stored; {} for a prior that its config describes completely."""
    match prior:
        case priors.Gaussian():
            names: tuple[str, ...] = ("mean", "factor")
        case priors.LowRankGaussian():
            names = ("mean", "basis", "residual")
        case priors.Empirical():
            names = ("images",)
        case _:
            names = ()
    return {name: np.asarray(getattr(prior, name)) for name in names}


def load_prior(experiment: Experiment, arrays: Mapping[str, np.ndarray]) -> priors.Prior:
    """Return the prior of a run, from its config and the stored arrays of `prior_arrays`.

    Raises:
      InputError: arrays are missing or not finite, or have the wrong shape or dtype.
    """
    prior, shape = experiment.config["prior"], experiment.event_shape
    size = math.prod(shape)
    if prior["name"] == "dataset":
        images = arrays.get("images")
        if images is None or images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
            stored = "nothing" if images is None else f"{images.dtype} {images.shape}"
            raise InputError(f"the stored prior has {stored} as 'images', not uint8 (n, {shape}): restore prior.npz")
        return _empirical(experiment.config["data"], images)
    if prior["name"] != "ddp":
        return _simple_prior(experiment)
    if prior["rank"]:
        return priors.LowRankGaussian(
            **_floats(arrays, {"mean": shape, "basis": (size, prior["rank"]), "residual": shape})
        )
    return priors.Gaussian(**_floats(arrays, {"mean": shape, "factor": (size, size)}))


def _floats(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the arrays named in `shapes`, which must be finite float32 of these shapes."""
    for name, shape in shapes.items():
        if name not in arrays or arrays[name].shape != shape or arrays[name].dtype != np.float32:
            stored = f"{arrays[name].dtype} {arrays[name].shape}" if name in arrays else "nothing"
            raise InputError(f"the stored prior has {stored} as {name!r}, not float32 {shape}: restore prior.npz")
        if not np.isfinite(arrays[name]).all():
            raise InputError(f"the stored prior has values in {name!r} that are not finite: restore prior.npz")
    return {name: arrays[name] for name in shapes}
