"""From a config to the data it names."""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from fdrl_jax import data
from fdrl_jax.builders.experiment import Experiment, data_transform
from fdrl_jax.files import expanded
from fdrl_jax.types import InputError


def dataset(experiment: Experiment, progress: bool = True) -> data.Dataset:
    """The training examples; images in files are prepared first, where that was not done yet.

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


# Images of the same kind that training does not see, where their authors set some apart.
_HELD_OUT_SPLITS = {"cifar10": "test", "celeba": "valid", "idx": "test"}


def held_out(experiment: Experiment, progress: bool = True) -> np.ndarray | None:
    """Images like the training images that training does not see, uint8 [n, H, W, C]; None where there are none.

    Of digits, `data.holdout` of them; where a run uses a part of its files (`data.part`), the next part; of the
    training split of CIFAR-10, CelebA and IDX files, their test or validation split, if its files are there and whole.
    """
    config = experiment.config["data"]
    if config["name"] == "digits":
        _, images = _split_digits(config)
        return images if len(images) else None
    first, n = map(int, config.get("part", "0/1").split("/"))
    if n > 1:
        source = _source(config, {**config, "part": f"{(first + 1) % n}/{n}"})
        return data.prepare(source, cache_root(config), progress).images
    # A path to one IDX file names its split itself.
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
    """The images of a config's data group and their classes: those to train on, or those held out.

    Args:
      config: normalised and checked.
      held_out: see the function of that name.
      progress: show a progress bar if files must be prepared.

    Returns:
      uint8 [n, H, W, C] and int64 [n].

    Raises:
      InputError: no labels are known, nothing is held out, or see `dataset`.
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
        chosen = {**config, "split": _HELD_OUT_SPLITS[config["name"]]} if held_out else config
        source = _source(chosen, {**chosen, "part": "0/1"} if held_out else chosen)
        if source.reader.labels is None:
            raise InputError(f"the images in {config['path']} have no labels beside them: use a data set with classes")
        cached = data.prepare(source, cache_root(config), progress)
        assert cached.labels is not None
        images, labels = cached.images, cached.labels
    if not len(images):
        raise InputError("no digits are held out: set config.data.holdout")
    return images, labels


def _split_digits(config: Mapping[str, Any], examples: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images (or their labels) to train on, and the held-out rest: the same whatever the seed, to compare runs."""
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
    """The files behind the data, or None where it is not read from files.

    Raises:
      InputError: the files are not there.
    """
    config = experiment.config["data"]
    return _source(config, config) if "path" in config else None


def prior_source(experiment: Experiment) -> data.Source | None:
    """The files behind the prior, where it is a second set of images: read and transformed like the data.

    Raises:
      InputError: the files are not there.
    """
    prior = experiment.config["prior"]
    if prior["name"] != "dataset":
        return None
    try:
        return _source(experiment.config["data"], prior)
    except InputError as error:  # The readers name the field that they mostly come from.
        raise InputError(re.sub(r"config\.data\.(path|label)", r"config.prior.\1", str(error))) from None


def sources(experiment: Experiment) -> list[data.Source]:
    """All files behind an experiment.

    Raises:
      InputError: files are not there.
    """
    return [source for source in (data_source(experiment), prior_source(experiment)) if source is not None]


def cache_root(config: Mapping[str, Any]) -> pathlib.Path:
    """Where a data set's images are prepared."""
    return expanded(config["cache"])


def _source(config: Mapping[str, Any], which: Mapping[str, Any]) -> data.Source:
    """Images of the kind that `config` says, as `config.data` does; `which` has their path, part and class."""
    readers, transform, path = data.readers, data_transform(config), which["path"]
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
            raise AssertionError(name)  # schema.check let through a name without a branch here.
    selection = f"{config.get('split', '')} {which['part']}"
    if "label" in which:
        reader = data.of_class(reader, which["label"])
        selection += f" label {which['label']}"
    first, n = map(int, which["part"].split("/"))
    if n > 1:
        reader = data.every_nth(reader, first, n)
    return data.Source(config["name"], path, selection, reader, transform, config["on_error"])
