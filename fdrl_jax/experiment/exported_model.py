"""An exported model: a folder that is complete without its run, here or on the Hugging Face Hub (hf:// addresses).

    FOLDER/config.json         {"format", "fdrl_jax", "step", "ema", "config"}: the run's config, paths shortened
    FOLDER/model.safetensors   the weights with spectral normalisation applied, as the ratio is evaluated with them
    FOLDER/prior.safetensors   arrays of the prior, if it has any: see `builders.prior_arrays`
    FOLDER/README.md, samples.png   for people; never read

`inference.export` makes such a folder from a run. Nothing in it is unpickled or run. Weights are named by their path in
the tree of the network's parameters, such as "Stem.kernel", and have Flax's layout. The vectors (u, v) of the spectral
normalisation are left out, so training cannot be resumed from the folder.
"""

import json
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import Model
from fdrl_jax.methods.base import abstract_weights
from fdrl_jax.models import convert
from fdrl_jax.types import InputError, Params
from fdrl_jax.utils import sharding
from fdrl_jax.utils.atomic_files import atomic
from fdrl_jax.utils.untrusted_files import load_json
from fdrl_jax.utils.version import __version__

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PRIOR_FILE = "prior.safetensors"
FORMAT = 1

HUB = "hf://"


def is_exported(folder: pathlib.Path) -> bool:
    """Return True if `folder` has files of an exported model, even if some are missing; a training run has none."""
    return any((folder / name).is_file() for name in (WEIGHTS_FILE, PRIOR_FILE))


def named(params: Params) -> dict[str, np.ndarray]:
    """Return the parameters as numpy arrays, by their paths in the tree, such as "Stem.kernel"."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {_path_name(path): np.asarray(leaf) for path, leaf in leaves}


def _path_name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def write(
    folder: pathlib.Path, config: dict[str, Any], params: Params, prior: dict[str, np.ndarray], step: int, ema: bool
) -> None:
    """Write the three files that `read` needs, the config last.

    Args:
      folder: an existing folder.
      config: the run's normalised config.
      params: the method's sampling weights.
      prior: arrays of the prior, from `builders.prior_arrays`; {} writes no file.
      step: number of training steps after which the weights were stored.
      ema: True for averaged weights, False for online ones.
    """
    convert.write_safetensors(folder / WEIGHTS_FILE, named(params))
    if prior:
        convert.write_safetensors(folder / PRIOR_FILE, prior)
    content = {"format": FORMAT, "fdrl_jax": __version__, "step": step, "ema": ema, "config": config}
    with atomic(folder / CONFIG_FILE) as path:
        path.write_text(json.dumps(content, indent=1) + "\n")


def read(folder: pathlib.Path, ema: bool = True) -> Model:
    """Read the model in `folder`. On the same machine, its samples are bit for bit those of the run it came from.

    Args:
      folder: a folder made by `inference.export`, or a copy.
      ema: the kind of weights that the folder must have: averaged if True, online if False.

    Raises:
      InputError: a file is missing, damaged, or inconsistent with the others.
    """
    content = _read_config(folder / CONFIG_FILE)
    if content["ema"] != ema:
        kinds = {True: "averaged (EMA)", False: "online"}
        raise InputError(
            f"{folder} has only the {kinds[content['ema']]} parameters, not the {kinds[ema]} ones: pass ema={not ema}"
        )
    try:
        experiment = builders.build(content["config"])
    except InputError as error:
        raise InputError(f"{folder / CONFIG_FILE}: {error}") from None
    params = _read_params(experiment, folder / WEIGHTS_FILE)
    prior_file = folder / PRIOR_FILE
    arrays = convert.read_safetensors(prior_file) if prior_file.exists() else {}
    try:
        prior = builders.load_prior(experiment, arrays)
    except InputError as error:
        raise InputError(str(error).replace("prior.npz", str(prior_file))) from None
    return Model(experiment, sharding.replicate(params), builders.place_prior(prior)[0], content["step"])


def _read_config(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} is missing: copy the folder again")
    try:
        content = load_json(path)
        version = content["format"]
        if not isinstance(version, int) or version < 1:
            raise ValueError(f"format = {version!r}")
        types = {"step": int, "ema": bool, "config": dict, "fdrl_jax": str}
        for name, kind in types.items() if version == FORMAT else ():
            if type(content[name]) is not kind:
                raise ValueError(f"{name} = {content[name]!r}")
    except (ValueError, OSError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path} is not the config of an exported model ({reason}): copy the folder again") from None
    if version > FORMAT:
        raise InputError(f"{path} is of format {version}, made by a newer fdrl_jax: this is {__version__}, update it")
    return content


def _read_params(experiment: builders.Experiment, path: pathlib.Path) -> Params:
    """Read the weights, in the structure that the config's network has."""
    arrays = convert.read_safetensors(path)
    abstract = abstract_weights(experiment.method)
    leaves, structure = jax.tree_util.tree_flatten_with_path(abstract)
    names = [_path_name(key) for key, _ in leaves]
    expected = {name: (leaf.shape, leaf.dtype) for name, (_, leaf) in zip(names, leaves, strict=True)}
    stored = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    for name in sorted(expected.keys() | stored.keys()):
        if expected.get(name) != stored.get(name):
            there, here = (f"{x[name][1]} {x[name][0]}" if name in x else "absent" for x in (stored, expected))
            raise InputError(f"{path}: {name} is {there} there and {here} by {CONFIG_FILE}: copy the folder again")
    return jax.tree_util.tree_unflatten(structure, [jnp.asarray(arrays[name]) for name in names])


def fetch(address: str) -> pathlib.Path:
    """Return a folder with a model of the Hugging Face Hub, downloaded if the cache of `huggingface_hub` lacks it.

    Only the three files that `read` needs are downloaded.

    Args:
      address: hf://USER/NAME or hf://USER/NAME@REVISION, where REVISION is a branch, tag or commit.

    Raises:
      InputError: the address is malformed, the `hub` extra is not installed, or the Hub does not return the files.
    """
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@(.+))?", address.removeprefix(HUB))
    if match is None:
        raise InputError(f"{address} must be hf://USER/NAME or hf://USER/NAME@REVISION")
    try:
        import huggingface_hub
    except ImportError:
        raise InputError(f"{address} needs the package huggingface_hub: pip install 'fdrl_jax[hub]'") from None
    files = [CONFIG_FILE, WEIGHTS_FILE, PRIOR_FILE]
    try:
        folder = huggingface_hub.snapshot_download(match[1], revision=match[2], allow_patterns=files)
    # The errors of huggingface_hub and of the network are OSErrors or ValueErrors; others are bugs and are not caught.
    except (OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{address} cannot be downloaded ({reason}): check the name, the network, or your access"
        ) from None
    return pathlib.Path(folder)
