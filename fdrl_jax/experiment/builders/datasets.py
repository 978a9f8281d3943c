"""Build the data set that a config describes, its held-out images, and the sources of image files."""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from fdrl_jax import data
from fdrl_jax.experiment.builders.experiment import Experiment, data_transform
from fdrl_jax.types import InputError
from fdrl_jax.utils.validation import expanded


def dataset(experiment: Experiment, progress: bool = True) -> data.Dataset:
    """Return the training examples. Images in files are prepared first, unless their cache exists.

    Raises:
      InputError: files are missing or damaged (see `data.prepare`), or there are fewer images than a batch.
    """
    config = experiment.config["data"]
    match config["name"]:
        case "digits":
            training, _ = _split_digits(config)
            images = data.ArrayDataset(training, config["flip"])
        case "gaussian":
            return data.gaussian(config["mean"], config["variance"])
        case "swissroll":
            return data.swissroll()
        case "eight_gaussians":
            return data.eight_gaussians()
        case "twentyfive_gaussians":
            return data.twentyfive_gaussians()
        case _:
            source = data_source(experiment)
            assert source is not None
            _check_batch(config, len(source.reader))
            cached = data.prepare(source, cache_root(config), progress)
            images = data.ArrayDataset(cached.images, config["flip"], cached.digest)
    _check_batch(config, len(images.examples))
    return images


# The split with held-out images of a data set that comes with one.
_HELD_OUT_SPLITS = {"cifar10": "test", "celeba": "valid", "idx": "test"}


def held_out(experiment: Experiment, progress: bool = True) -> np.ndarray | None:
    """Return held-out images, which are not used in training, uint8 [n, H, W, C]; None if there are none.

    For digits they are `data.holdout` of the images. For a run that uses a part of its files (`data.part`), they are
    the next part. For the training split of CIFAR-10, CelebA and IDX files, they are the test or validation split, if
    its files exist and are valid.

    Raises:
      InputError: files are missing or damaged; see `data.prepare`.
    """
    config = experiment.config["data"]
    if config["name"] == "digits":
        _, images = _split_digits(config)
        return images if len(images) else None
    first, n = map(int, config.get("part", "0/1").split("/"))
    if n > 1:
        source = _source(config, {**config, "part": f"{(first + 1) % n}/{n}"})
        return data.prepare(source, cache_root(config), progress).images
    # The path of a single IDX file determines the split, so there is no other split to read.
    one_file = config["name"] == "idx" and not expanded(config["path"]).is_dir()
    if config.get("split") != "train" or config["name"] not in _HELD_OUT_SPLITS or one_file:
        return None
    try:
        split = {**config, "split": _HELD_OUT_SPLITS[config["name"]]}
        source = _source(split, {**config, "part": "0/1"})
    except InputError:
        return None
    return data.prepare(source, cache_root(config), progress).images


def labelled(config: Mapping[str, Any], held_out: bool = False, progress: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return images and their classes: those to train on, or those held out.

    Args:
      config: group `data` of a normalised and checked config.
      held_out: return the held-out digits, or the test or validation split, instead of the training images.
      progress: show a progress bar if files must be prepared.

    Returns:
      uint8 [n, H, W, C] and int64 [n].

    Raises:
      InputError: the images have no labels, no images are held out, or see `dataset`.
    """
    if config["name"] == "digits":
        images, labels = _split_digits(config)[held_out], _split_digits(config, data.digits_labels())[held_out]
    else:
        if "path" not in config:
            raise InputError(f"data set {config['name']!r} has no classes: use one of images with labels")
        if held_out and (config.get("split") != "train" or config["name"] not in _HELD_OUT_SPLITS):
            raise InputError(
                f"data set {config['name']!r} has no images set apart: use the split 'train' of one of "
                f"{', '.join(_HELD_OUT_SPLITS)}"
            )
        split = {**config, "split": _HELD_OUT_SPLITS[config["name"]]} if held_out else config
        source = _source(split, {**split, "part": "0/1"} if held_out else split)
        if source.reader.labels is None:
            raise InputError(f"the images in {config['path']} have no labels beside them: use a data set with classes")
        cached = data.prepare(source, cache_root(config), progress)
        assert cached.labels is not None
        images, labels = cached.images, cached.labels
    if not len(images):
        raise InputError("no digits are held out: set config.data.holdout")
    return images, labels


def _split_digits(config: Mapping[str, Any], examples: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Split digits, or `examples` in their order, into a training and a held-out part.

    The split does not depend on the seed of the config, so that runs with different seeds can be compared.
    """
    examples = data.digits().examples if examples is None else examples
    order = np.random.default_rng(0).permutation(len(examples))
    holdout = config.get("holdout", 0)
    return examples[np.sort(order[holdout:])], examples[np.sort(order[:holdout])]


def _check_batch(config: Mapping[str, Any], examples: int) -> None:
    if examples < config["batch_size"]:
        raise InputError(
            f"config.data.batch_size = {config['batch_size']} is more than the {examples} examples of data set "
            f"{config['name']!r}{' in ' + config['path'] if 'path' in config else ''}: use a smaller batch"
        )


def data_source(experiment: Experiment) -> data.Source | None:
    """Return the source of the training images; None for data that is not read from files.

    Raises:
      InputError: the files do not exist.
    """
    config = experiment.config["data"]
    return _source(config, config) if "path" in config else None


def prior_source(experiment: Experiment) -> data.Source | None:
    """Return the source of the prior's images, which are read and transformed like the data; None for other priors.

    Raises:
      InputError: the files do not exist.
    """
    prior = experiment.config["prior"]
    if prior["name"] != "dataset":
        return None
    try:
        return _source(experiment.config["data"], prior)
    except InputError as error:  # The readers name the fields of the data, from which their arguments usually come.
        raise InputError(re.sub(r"config\.data\.(path|label)", r"config.prior.\1", str(error))) from None


def sources(experiment: Experiment) -> list[data.Source]:
    """Return the sources of the training images and of the prior's images, as far as they are read from files.

    Raises:
      InputError: files do not exist.
    """
    return [source for source in (data_source(experiment), prior_source(experiment)) if source is not None]


def cache_root(config: Mapping[str, Any]) -> pathlib.Path:
    """Return the folder for prepared images; `config` is the group `data`."""
    return expanded(config["cache"])


def _source(config: Mapping[str, Any], selection: Mapping[str, Any]) -> data.Source:
    """Return a source of images.

    Args:
      config: group `data` of a config, with the format, the split and the transform.
      selection: a mapping with the `path` of the images, their `part`, and optionally their `label`.
    """
    readers, transform, path = data.readers, data_transform(config), selection["path"]
    reader: data.readers.Reader
    match config["name"]:
        case "cifar10":
            reader = readers.cifar10(path, config["split"])
        case "celeba":
            reader = readers.celeba(path, config["split"])
        case "lsun":
            reader = readers.lsun(path)
        case "folder":
            reader = readers.folder(path)
        case "idx":
            reader = readers.idx(path, config["split"])
        case "arrays":
            reader = readers.arrays(path)
        case "tfds":
            reader = readers.tfds(path, config["split"])
        case name:
            raise AssertionError(name)  # `schema.check` accepts a name that has no branch here.
    description = f"{config.get('split', '')} {selection['part']}"
    if "label" in selection:
        reader = data.of_class(reader, selection["label"])
        description += f" label {selection['label']}"
    first, n = map(int, selection["part"].split("/"))
    if n > 1:
        reader = data.every_nth(reader, first, n)
    return data.Source(config["name"], path, description, reader, transform, config["on_error"])
