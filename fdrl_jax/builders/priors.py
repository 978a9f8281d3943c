"""From a config to the prior it names: fitted, or from what a run stored of it."""

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fdrl_jax import data, priors, sharding
from fdrl_jax.builders.datasets import cache_root, prior_source
from fdrl_jax.builders.experiment import Experiment
from fdrl_jax.evaluation import prior_distance
from fdrl_jax.types import InputError

# Values in an image up to which a low-rank prior is compared with the exact one when it is fitted: a minute on 2 cores.
_LARGEST_DISTANCE = 3072


def fit_prior(experiment: Experiment, dataset: data.Dataset, progress: bool = True) -> priors.Prior:
    """The config's prior, fitted to the data where there is something to fit.

    Raises:
      InputError: see `priors.fit_gaussian`, `priors.fit_low_rank` and, for a data set of its own, `data.prepare`.
    """
    config, prior = experiment.config, experiment.config["prior"]
    if prior["name"] == "ddp":
        assert isinstance(dataset, data.ArrayDataset)  # _check_fit made sure.
        exact = not prior["rank"] or math.prod(experiment.event_shape) <= _LARGEST_DISTANCE
        fitted = priors.fit_gaussian(dataset.examples, prior["jitter"], progress=progress) if exact else None
        if fitted is not None and not prior["rank"]:
            return fitted
        low_rank = priors.fit_low_rank(dataset.examples, prior["rank"], prior["jitter"], progress=progress)
        kept = f"prior: rank {prior['rank']} keeps {low_rank.variance_kept():.2%} of the variance"
        if fitted is not None:
            kept += f"; Bures-Wasserstein distance to the exact Gaussian {prior_distance(low_rank, fitted):.4g}"
        print(kept)
        return low_rank
    if prior["name"] == "dataset":
        source = prior_source(experiment)
        assert source is not None
        return _empirical(config["data"], data.prepare(source, cache_root(config["data"]), progress).images)
    return _simple_prior(experiment)


def place_prior(prior: priors.Prior) -> tuple[priors.Prior | priors.HostGaussian, str]:
    """A prior where its size asks for it, and that place in words, for the log.

    One device holds it where it can; several share it where one cannot; else the host draws from it ahead of time.
    """
    if not isinstance(prior, (priors.Gaussian, priors.LowRankGaussian)):
        return prior if isinstance(prior, (priors.HostGaussian, priors.Given)) else sharding.same(prior), ""
    large = prior.factor if isinstance(prior, priors.Gaussian) else prior.basis
    what = f"prior: {large.nbytes / 2**20:,.0f} MiB, {prior_placement(large.nbytes)}"
    return priors.place(prior, list(sharding.mesh().devices.flat)), what


def prior_placement(num_bytes: int) -> str:
    """Where a prior of that size goes, in words."""
    count, memory = sharding.mesh().size, priors.device_memory(jax.local_devices()[0])
    match priors.placement(num_bytes, memory, count):
        case "replicated":
            devices = "one device (of" if count == 1 else f"each of {count} devices (of"
            return f"on {devices} {memory / 2**30:,.0f} GiB)"
        case "sharded":
            return f"spread over {count} devices (of {memory / 2**30:,.0f} GiB each)"
    return f"on the host, drawn ahead of time (a device has {memory / 2**30:,.0f} GiB)"


def blank_prior(experiment: Experiment) -> priors.Prior:
    """The config's prior with zeros that take no memory for its arrays, to compile with.

    Images that are not here count as one.
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
    """What of a prior must be stored: nothing for one that the config describes completely."""
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
    """The prior of a run from its config and stored arrays.

    Raises:
      InputError: arrays are missing, not finite, or do not have the shape of the data.
    """
    prior, shape = experiment.config["prior"], experiment.event_shape
    size = math.prod(shape)
    if prior["name"] == "dataset":
        images = arrays.get("images")
        if images is None or images.dtype != np.uint8 or images.shape[1:] != shape or not len(images):
            found = "nothing" if images is None else f"{images.dtype} {images.shape}"
            raise InputError(f"the stored prior has {found} as 'images', not uint8 (n, {shape}): restore prior.npz")
        return _empirical(experiment.config["data"], images)
    if prior["name"] != "ddp":
        return _simple_prior(experiment)
    if prior["rank"]:
        return priors.LowRankGaussian(
            **_floats(arrays, {"mean": shape, "basis": (size, prior["rank"]), "residual": shape})
        )
    return priors.Gaussian(**_floats(arrays, {"mean": shape, "factor": (size, size)}))


def _floats(arrays: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    for name, shape in wanted.items():
        if name not in arrays or arrays[name].shape != shape or arrays[name].dtype != np.float32:
            found = f"{arrays[name].dtype} {arrays[name].shape}" if name in arrays else "nothing"
            raise InputError(f"the stored prior has {found} as {name!r}, not float32 {shape}: restore prior.npz")
        if not np.isfinite(arrays[name]).all():
            raise InputError(f"the stored prior has values in {name!r} that are not finite: restore prior.npz")
    return {name: arrays[name] for name in wanted}
