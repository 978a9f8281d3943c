"""Classifiers trained by `--mode=train_classifier`: their config, and the files of their workdir.

WORKDIR/config.json         the config
WORKDIR/metrics.jsonl       loss and accuracy on the attacked batches of training
WORKDIR/classifier.npz      the parameters, written when training is done
WORKDIR/accuracy.json       accuracy on held-out images, clean and attacked
"""

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdrl_jax import models
from fdrl_jax.experiment import builders, schema
from fdrl_jax.experiment.field_checks import Fields, integer, number
from fdrl_jax.experiment.workdir_files import CONFIG_FILE, read_arrays
from fdrl_jax.inference.classifiers.base import Classifier
from fdrl_jax.models.conv import with_prepared
from fdrl_jax.types import InputError, Params
from fdrl_jax.utils.atomic_files import atomic
from fdrl_jax.utils.untrusted_files import load_json

WEIGHTS_FILE = "classifier.npz"
ACCURACY_FILE = "accuracy.json"

COMMON: dict[str, Fields] = {
    "": {"seed": schema.COMMON[""]["seed"]},
    "data": schema.COMMON["data"],
    "model": {},
    "attack": {"eps": number(0), "num_steps": integer(1)},
    "optimizer": schema.COMMON["optimizer"],
    "train": {"num_steps": integer(1), "log_every": integer(1), "num_held_out": integer(1)},
}
BY_NAME: dict[str, dict[str, Fields]] = {
    "data": {name: fields for name, fields in schema.BY_NAME["data"].items() if "image_size" in fields},
    "model": {
        "cnn": {
            "stem": schema.BY_NAME["model"]["resnet"]["stem"],
            "stages": schema.BY_NAME["model"]["resnet"]["stages"],
            "classes": integer(2, 65536),
        }
    },
}


def normalise(config: schema.Config) -> dict[str, Any]:
    """Check a classifier's config, and return it as nested dicts with tuples for sequences.

    Raises:
      InputError: a field is missing, unknown or out of range.
    """
    config = builders.normalise(config)
    if "attack" not in config:
        raise InputError(
            "config has no group 'attack', so it is not a classifier's: use --config=configs/classifier.py"
        )
    schema.check(config, COMMON, BY_NAME)
    return config


def event_shape(config: dict[str, Any]) -> tuple[int, int, int]:
    """Return the shape (H, W, C) of the images that a normalised config describes."""
    data = config["data"]
    return (data["image_size"], data["image_size"], data["channels"])


def network(config: dict[str, Any]) -> models.CNN:
    """Return the network that a normalised config describes."""
    model = config["model"]
    return models.CNN(model["stem"], tuple(models.Stage(*stage) for stage in model["stages"]), model["classes"])


def save(workdir: pathlib.Path, params: Params, accuracy: dict[str, Any]) -> None:
    """Write the accuracy, then the parameters, so that a workdir with parameters is complete.

    Args:
      workdir: folder of the classifier.
      params: parameters of `network`.
      accuracy: content of accuracy.json; see `training.classifier.train_classifier`.
    """
    with atomic(workdir / ACCURACY_FILE) as path:
        path.write_text(json.dumps(accuracy, indent=1) + "\n")
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    with atomic(workdir / WEIGHTS_FILE) as path:
        np.savez(path, **{jax.tree_util.keystr(key): np.asarray(leaf) for key, leaf in leaves})  # type: ignore[arg-type]


def load(workdir: pathlib.Path) -> Classifier:
    """Load the classifier that `--mode=train_classifier` wrote to `workdir`.

    Raises:
      InputError: the workdir has no trained classifier, or one of its files is damaged.
    """
    if not (workdir / WEIGHTS_FILE).is_file():
        raise InputError(
            f"{workdir} holds no trained classifier (no {WEIGHTS_FILE} in it): train one with "
            "--mode=train_classifier --config=configs/classifier.py"
        )
    try:
        config = normalise(load_json(workdir / CONFIG_FILE))
    except (OSError, ValueError) as error:
        raise InputError(f"{workdir / CONFIG_FILE} cannot be used ({error}): restore it") from None
    module = network(config)
    shapes = jax.eval_shape(lambda: module.start(jax.random.key(0), event_shape(config)))
    arrays = read_arrays(workdir / WEIGHTS_FILE)

    def checked(key: Any, shape: jax.ShapeDtypeStruct) -> jax.Array:
        array = arrays.get(jax.tree_util.keystr(key))
        if array is None or array.shape != shape.shape or array.dtype != shape.dtype or not np.isfinite(array).all():
            raise InputError(
                f"{workdir / WEIGHTS_FILE} has no finite {shape.dtype} {list(shape.shape)} as "
                f"{jax.tree_util.keystr(key)}: restore it, or train again in a new workdir"
            )
        return jnp.asarray(array)

    params = jax.tree_util.tree_map_with_path(checked, shapes)
    return Classifier(module.logits, params, str(workdir), event_shape(config), prepare=with_prepared)
