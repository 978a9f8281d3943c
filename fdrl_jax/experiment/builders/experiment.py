"""Build the experiment that a config describes, and check the rules that relate two or more fields."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from fdrl_jax import data, models
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.experiment import schema
from fdrl_jax.losses import LOSSES, PARAMETERISATION
from fdrl_jax.methods import train_state
from fdrl_jax.methods.base import Method
from fdrl_jax.methods.fdrl import FDRL
from fdrl_jax.methods.fdrl_train_step import Recipe
from fdrl_jax.types import InputError, OutputFn, Parameterisation

# Data sets whose name is a file format, so that only their path distinguishes them.
_FORMATS = ("folder", "idx", "arrays", "lsun", "tfds")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A checked config with its method. The data and the prior are not read yet.

    Attributes:
      config: nested dicts, with tuples for sequences.
      event_shape: shape of one example, [H, W, C] for images and [D] for points.
      method: training step and sampling, with all settings.
    """

    config: dict[str, Any]
    event_shape: tuple[int, ...]
    method: Method

    @property
    def is_image(self) -> bool:
        """True for images, which are clipped to [-1, 1] when sampled and shown as grids; False for points."""
        return len(self.event_shape) == 3

    def flow_length(self) -> int:
        """Return the default number of flow steps of a sample, K + kappa."""
        return self.method.flow_length


def normalise(config: schema.Config) -> dict[str, Any]:
    """Return a config as nested dicts with tuples for sequences.

    Args:
      config: a ConfigDict, or nested dicts, such as those read from config.json.

    Raises:
      InputError: `config` is of another type, or nested too deeply.
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
    """Check `config`, and build the experiment; the data set and the prior are built by `datasets` and `priors`.

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
    return Experiment(config, event_shape, _fdrl(config, event_shape, parameterisation, f_prime))


def _fdrl(
    config: Mapping[str, Any], event_shape: tuple[int, ...], parameterisation: Parameterisation, f_prime: OutputFn
) -> FDRL:
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
    schedule = train_state.learning_rate_schedule(
        optimizer["learning_rate"], optimizer["decay_steps"], optimizer["decay_factor"]
    )
    return FDRL(event_shape, recipe, flow["kappa"], schedule, optimizer["b1"], optimizer["b2"])


def dataset_name(experiment: Experiment) -> str:
    """Return the name of the data set, such as "cifar10".

    If that is only a file format, return the last part of the path, such as "fashion-mnist".
    """
    config = experiment.config["data"]
    return pathlib.Path(config["path"]).name or config["name"] if config["name"] in _FORMATS else config["name"]


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
    """Check the rules that relate two or more fields.

    Raises:
      InputError: a field does not fit another.
    """
    name, is_image = config["data"]["name"], len(event_shape) == 3
    if config["model"]["name"] == "resnet" and not is_image:
        raise InputError(f"config.model.name = 'resnet' takes images, and data set {name!r} has points: use 'mlp'")
    if config["prior"]["name"] in ("ddp", "dataset") and not is_image:
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
    measured = ("precision", "recall", "frechet") if is_image else ("sliced_wasserstein",)
    if best and best not in measured:
        raise InputError(
            f"config.diagnostics.best = {best!r} is not measured of {'images' if is_image else 'points'}: use one of "
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
    """Return the transform from an image in a file to an example; `config` is the group `data`."""
    return data.Transform.parse(config["transform"], config["image_size"], config["channels"])
