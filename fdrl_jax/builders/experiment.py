"""From a config to an experiment, and the check of how fields fit together."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import optax

from fdrl_jax import data, models, schema, state
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.losses import LOSSES, PARAMETERISATION
from fdrl_jax.steps import Recipe
from fdrl_jax.types import InputError

# Data sets named by their format are told apart by where they lie.
_FORMATS = ("folder", "idx", "arrays", "lsun", "tfds")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a config describes, built but not started: nothing of the data is read.

    Attributes:
      config: the config as nested dicts, sequences as tuples.
      event_shape: of one example: [H, W, C] for images, [D] for points.
      recipe: how to train and sample.
      optimizer: Adam with the config's schedule.
      schedule: its learning rate by step.
    """

    config: dict[str, Any]
    event_shape: tuple[int, ...]
    recipe: Recipe
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule

    @property
    def is_image(self) -> bool:
        """Images are clipped to [-1, 1] when sampled and shown as grids; points are neither."""
        return len(self.event_shape) == 3

    def flow_length(self) -> int:
        """K + kappa, the number of steps when sampling."""
        return self.config["flow"]["num_steps"] + self.config["flow"]["kappa"]


def normalise(config: schema.Config) -> dict[str, Any]:
    """A ConfigDict, or what JSON made of one, as nested dicts with tuples for sequences.

    Raises:
      InputError: it is something else, or nested without end.
    """
    if not hasattr(config, "items"):
        raise InputError(f"config is a {type(config).__name__}, not a ConfigDict or nested dicts: see configs/")

    def convert(value: Any) -> Any:
        if hasattr(value, "items"):
            return {str(name): convert(v) for name, v in value.items()}
        return tuple(map(convert, value)) if isinstance(value, (list, tuple)) else value

    try:
        return convert(config)
    except RecursionError:
        raise InputError("config is nested too deeply: its groups have fields, and no groups in them") from None


def build(config: schema.Config) -> Experiment:
    """Check `config` and build everything it describes but the data and the prior, which may need reading and fitting.

    Raises:
      InputError: a field is missing, unknown, out of range, or does not fit another.
    """
    config = normalise(config)
    if "attack" in config:
        raise InputError(
            "this is a classifier's config: --mode=train_classifier trains it, --classifier=WORKDIR uses it"
        )
    schema.check(config)
    parameterisation = PARAMETERISATION[config["loss"]]
    try:
        f_prime = DIVERGENCES[config["divergence"]].output_derivative(parameterisation)
    except InputError as error:
        raise InputError(f"config.loss = {config['loss']!r} with {error}") from None

    event_shape = _event_shape(config["data"])
    _check_fit(config, event_shape)
    flow, optimizer = config["flow"], config["optimizer"]
    recipe = Recipe(
        estimator=models.estimator(
            _network(config, parameterisation),
            event_shape,
            parameterisation,
            config["precision"],
            config["model"].get("spectral_norm", False),
        ),
        loss=LOSSES[config["loss"]],
        f_prime=f_prime,
        num_steps=flow["num_steps"],
        step_size=flow["step_size"],
        noise=flow["noise"],
        guided=flow["guided"],
        dequantize_sigma=config["data"].get("dequantize_sigma", 0.0),
        ema_decay=config["ema_decay"],
        microbatch=config["train"].get("microbatch", 0),
    )
    schedule = state.learning_rate_schedule(
        optimizer["learning_rate"], optimizer["decay_steps"], optimizer["decay_factor"]
    )
    return Experiment(config, event_shape, recipe, state.adam(schedule, optimizer["b1"], optimizer["b2"]), schedule)


def slowed(experiment: Experiment, factor: float) -> Experiment:
    """The experiment with `factor` times its learning rate. The optimiser's state is of the same form."""
    if factor == 1:
        return experiment

    def schedule(step: Any) -> Any:
        return factor * experiment.schedule(step)

    config = experiment.config["optimizer"]
    return dataclasses.replace(
        experiment, schedule=schedule, optimizer=state.adam(schedule, config["b1"], config["b2"])
    )


def dataset_name(experiment: Experiment) -> str:
    """The data set, such as "cifar10", or of a mere format the last part of its path, such as "fashion-mnist"."""
    data = experiment.config["data"]
    return pathlib.Path(data["path"]).name or data["name"] if data["name"] in _FORMATS else data["name"]


def _event_shape(config: Mapping[str, Any]) -> tuple[int, ...]:
    if "image_size" not in config:
        return (2,)
    return (config["image_size"], config["image_size"], config["channels"])


def _network(config: Mapping[str, Any], parameterisation: Any) -> models.MLP | models.ResNet:
    model = config["model"]
    bias = models.head_bias(model["ratio_init"], parameterisation)
    if model["name"] == "mlp":
        return models.MLP(model["width"], bias)
    stages = tuple(models.Stage(*stage) for stage in model["stages"])
    return models.ResNet(model["stem"], stages, bias, model["attention"])


def _check_fit(config: Mapping[str, Any], event_shape: tuple[int, ...]) -> None:
    """The rules that take two fields to state."""
    name, images = config["data"]["name"], len(event_shape) == 3
    if config["model"]["name"] == "resnet" and not images:
        raise InputError(f"config.model.name = 'resnet' takes images, and data set {name!r} has points: use 'mlp'")
    if config["prior"]["name"] in ("ddp", "dataset") and not images:
        raise InputError(
            f"config.prior.name = {config['prior']['name']!r} is made of images, and data set {name!r} is drawn "
            "without end: use 'normal' or 'uniform'"
        )
    if config["prior"]["name"] == "dataset" and "path" not in config["data"]:
        raise InputError(
            f"config.prior.name = 'dataset' reads a second set of files like those of the data, and data set {name!r} "
            "is not read from files: use data.name = 'folder'"
        )
    if config["prior"].get("rank", 0) > math.prod(event_shape):
        raise InputError(
            f"config.prior.rank = {config['prior']['rank']} is more than the {math.prod(event_shape)} pixels of an "
            "image: use a smaller rank, or 0 for the exact covariance"
        )
    best = config.get("diagnostics", {}).get("best", "")
    measured = ("precision", "recall", "frechet") if images else ("sliced_wasserstein",)
    if best and best not in measured:
        raise InputError(
            f"config.diagnostics.best = {best!r} is not measured of {'images' if images else 'points'}: use one of "
            f"{', '.join(measured)}, or '' to keep none"
        )
    if "transform" in config["data"]:
        data_transform(config["data"])
    if config["model"]["name"] == "resnet":
        stages = config["model"]["stages"]
        shrink = math.prod(stage[2] for stage in stages)
        if shrink > event_shape[0]:
            raise InputError(
                f"config.model.stages = {stages} shrink an image {shrink} times, and it has {event_shape[0]} pixels a "
                "side: use fewer stages of stride 2"
            )
        if config["model"]["attention"] > len(stages):
            raise InputError(
                f"config.model.attention = {config['model']['attention']} is the stage that attention follows, and "
                f"there are {len(stages)}: use 0 for none"
            )
        if config["model"]["attention"] and stages[config["model"]["attention"] - 1][0] < 8:
            raise InputError(
                f"config.model.attention = {config['model']['attention']} works on an eighth of the channels of that "
                f"stage, of config.model.stages = {stages}: let it have at least 8"
            )


def data_transform(config: Mapping[str, Any]) -> data.Transform:
    """From a file's image to an example, by `config.data`."""
    return data.Transform.parse(config["transform"], config["image_size"], config["channels"])
