"""From a config to the objects it describes: the only reader of configs, and the check of how fields fit together."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from fdrl_jax import data, models, priors, schema, state
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.losses import LOSSES, PARAMETERISATION
from fdrl_jax.pixels import to_float
from fdrl_jax.steps import Recipe
from fdrl_jax.types import InputError


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a config describes, built but not started.

    Attributes:
      config: the config as nested dicts, sequences as tuples.
      dataset: of training examples.
      recipe: how to train and sample.
      optimizer: Adam with the config's schedule.
      schedule: its learning rate by step.
    """

    config: dict[str, Any]
    dataset: data.Dataset
    recipe: Recipe
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule

    @property
    def is_image(self) -> bool:
        """Images are clipped to [-1, 1] when sampled and shown as grids; points are neither."""
        return len(self.dataset.event_shape) == 3

    def flow_length(self) -> int:
        """K + kappa, the number of steps when sampling."""
        return self.config["flow"]["num_steps"] + self.config["flow"]["kappa"]


def normalise(config: schema.Config) -> dict[str, Any]:
    """A ConfigDict, or what JSON made of one, as nested dicts with tuples for sequences."""

    def convert(value: Any) -> Any:
        if hasattr(value, "items"):
            return {str(name): convert(v) for name, v in value.items()}
        return tuple(map(convert, value)) if isinstance(value, (list, tuple)) else value

    return convert(config)


def build(config: schema.Config) -> Experiment:
    """Check `config` and build everything it describes but the prior, which may need fitting.

    Raises:
      InputError: a field is missing, unknown, out of range, or does not fit another.
    """
    config = normalise(config)
    schema.check(config)
    parameterisation = PARAMETERISATION[config["loss"]]
    try:
        f_prime = DIVERGENCES[config["divergence"]].output_derivative(parameterisation)
    except InputError as error:
        raise InputError(f"config.loss = {config['loss']!r} with {error}") from None

    dataset = _dataset(config["data"])
    _check_fit(config, dataset)
    flow, optimizer = config["flow"], config["optimizer"]
    recipe = Recipe(
        estimator=models.estimator(
            _network(config, parameterisation), dataset.event_shape, parameterisation, config["precision"]
        ),
        loss=LOSSES[config["loss"]],
        f_prime=f_prime,
        num_steps=flow["num_steps"],
        step_size=flow["step_size"],
        noise=flow["noise"],
        guided=flow["guided"],
        dequantize_sigma=config["data"].get("dequantize_sigma", 0.0),
        ema_decay=config["ema_decay"],
    )
    schedule = state.learning_rate_schedule(
        optimizer["learning_rate"], optimizer["decay_steps"], optimizer["decay_factor"]
    )
    return Experiment(config, dataset, recipe, state.adam(schedule, optimizer["b1"], optimizer["b2"]), schedule)


def _dataset(config: Mapping[str, Any]) -> data.Dataset:
    match config["name"]:
        case "digits":
            return data.digits(config["flip"])
        case "gaussian":
            return data.gaussian(config["mean"], config["variance"])
        case "swissroll":
            return data.swissroll()
        case "eight_gaussians":
            return data.eight_gaussians()
        case "twentyfive_gaussians":
            return data.twentyfive_gaussians()
    raise AssertionError(config["name"])  # schema.check let through a name without a branch here.


def _network(config: Mapping[str, Any], parameterisation: Any) -> models.MLP | models.ResNet:
    model = config["model"]
    bias = models.head_bias(model["ratio_init"], parameterisation)
    if model["name"] == "mlp":
        return models.MLP(model["width"], bias)
    return models.ResNet(model["stem"], tuple(models.Stage(*stage) for stage in model["stages"]), bias)


def _check_fit(config: Mapping[str, Any], dataset: data.Dataset) -> None:
    """The rules that take two fields to state."""
    name, images = config["data"]["name"], isinstance(dataset, data.ArrayDataset)
    if config["model"]["name"] == "resnet" and not images:
        raise InputError(f"config.model.name = 'resnet' takes images, and data set {name!r} has points: use 'mlp'")
    if config["prior"]["name"] == "ddp" and not images:
        raise InputError(
            f"config.prior.name = 'ddp' is fitted to images, and data set {name!r} is drawn without end: "
            "use 'normal' or 'uniform'"
        )
    if isinstance(dataset, data.ArrayDataset) and len(dataset.examples) < config["data"]["batch_size"]:
        raise InputError(
            f"config.data.batch_size = {config['data']['batch_size']} is more than the {len(dataset.examples)} "
            f"examples of data set {name!r}: use a smaller batch"
        )
    if config["model"]["name"] == "resnet":
        shrink = int(np.prod([stage[2] for stage in config["model"]["stages"]]))
        if shrink > dataset.event_shape[0]:
            raise InputError(
                f"config.model.stages = {config['model']['stages']} shrink an image {shrink} times, and it has "
                f"{dataset.event_shape[0]} pixels a side: use fewer stages of stride 2"
            )


def fit_prior(experiment: Experiment) -> priors.Prior:
    """The config's prior, fitted to the data where there is something to fit.

    Raises:
      InputError: see `priors.fit_gaussian`.
    """
    prior = experiment.config["prior"]
    if prior["name"] == "ddp":
        assert isinstance(experiment.dataset, data.ArrayDataset)  # _check_fit made sure.
        return priors.fit_gaussian(to_float(experiment.dataset.examples), prior["jitter"])
    return _simple_prior(experiment)


def _simple_prior(experiment: Experiment) -> priors.Prior:
    prior, shape = experiment.config["prior"], experiment.dataset.event_shape
    return priors.Normal(shape, prior["scale"]) if prior["name"] == "normal" else priors.Uniform(shape)


def prior_arrays(prior: priors.Prior) -> dict[str, np.ndarray]:
    """What of a prior must be stored: nothing for one that the config describes completely."""
    if isinstance(prior, priors.Gaussian):
        return {"mean": np.asarray(prior.mean), "factor": np.asarray(prior.factor)}
    return {}


def load_prior(experiment: Experiment, arrays: Mapping[str, np.ndarray]) -> priors.Prior:
    """The prior of a run from its config and stored arrays.

    Raises:
      InputError: arrays are missing, not finite, or do not have the shape of the data.
    """
    if experiment.config["prior"]["name"] != "ddp":
        return _simple_prior(experiment)
    shape = experiment.dataset.event_shape
    size = int(np.prod(shape))
    for name, wanted in (("mean", shape), ("factor", (size, size))):
        if name not in arrays or arrays[name].shape != wanted or arrays[name].dtype != np.float32:
            found = f"{arrays[name].dtype} {arrays[name].shape}" if name in arrays else "nothing"
            raise InputError(f"the stored prior has {found} as {name!r}, not float32 {wanted}: restore prior.npz")
        if not np.isfinite(arrays[name]).all():
            raise InputError(f"the stored prior has values in {name!r} that are not finite: restore prior.npz")
    return priors.Gaussian(jnp.asarray(arrays["mean"]), jnp.asarray(arrays["factor"]))
