"""A model in a folder that needs nothing else, here or on the Hugging Face Hub. `sharing.export` makes one.

    FOLDER/config.json         {"format", "fdrl_jax", "step", "ema", "config"}: the run's config, what is here of it
    FOLDER/model.safetensors   weights as the ratio is evaluated with them: spectral norm is applied
    FOLDER/prior.safetensors   arrays of the prior, where it has any: see `builders.prior_arrays`
    FOLDER/README.md, samples.png   for people; never read

Nothing is unpickled or run. Weights are named by their place among the network's parameters, "Stem.kernel", in Flax's
layout. With spectral norm already applied, (u, v) are not needed; so training does not go on from here.
"""

import json
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdrl_jax import builders, convert, sampling, sharding
from fdrl_jax.files import atomic
from fdrl_jax.types import InputError, Params
from fdrl_jax.untrusted import load_json
from fdrl_jax.version import __version__

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PRIOR_FILE = "prior.safetensors"
FORMAT = 1

HUB = "hf://"


def is_exported(folder: pathlib.Path) -> bool:
    """Whether `folder` holds, or is meant to hold, an exported model rather than a training run."""
    return any((folder / name).is_file() for name in (WEIGHTS_FILE, PRIOR_FILE))


def named(params: Params) -> dict[str, np.ndarray]:
    """Parameters by their names, numpy arrays."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def write(
    folder: pathlib.Path, config: dict[str, Any], params: Params, prior: dict[str, np.ndarray], step: int, ema: bool
) -> None:
    """Write the three files that `read` needs into an existing folder, the config last."""
    convert.write_safetensors(folder / WEIGHTS_FILE, named(params))
    if prior:
        convert.write_safetensors(folder / PRIOR_FILE, prior)
    content = {"format": FORMAT, "fdrl_jax": __version__, "step": step, "ema": ema, "config": config}
    with atomic(folder / CONFIG_FILE) as path:
        path.write_text(json.dumps(content, indent=1) + "\n")


def read(folder: pathlib.Path, ema: bool = True) -> sampling.Model:
    """The model in `folder`: the samples of the run that it was exported from, bit for bit on the same machine.

    Args:
      folder: from `sharing.export`, or a copy.
      ema: must be what was exported.

    Raises:
      InputError: a file is missing, damaged or does not go with the others.
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
    params = _params(experiment, folder / WEIGHTS_FILE)
    stored = folder / PRIOR_FILE
    arrays = convert.read_safetensors(stored) if stored.exists() else {}
    try:
        prior = builders.load_prior(experiment, arrays)
    except InputError as error:
        raise InputError(str(error).replace("prior.npz", str(stored))) from None
    return sampling.Model(experiment, sharding.same(params), builders.place_prior(prior)[0], content["step"])


def _read_config(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} is missing: copy the folder again")
    try:
        content = load_json(path)
        version = content["format"]
        if not isinstance(version, int) or version < 1:
            raise ValueError(f"format = {version!r}")
        wanted = {"step": int, "ema": bool, "config": dict, "fdrl_jax": str}
        for name, kind in wanted.items() if version == FORMAT else ():
            if type(content[name]) is not kind:
                raise ValueError(f"{name} = {content[name]!r}")
    except (ValueError, OSError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path} is not the config of an exported model ({reason}): copy the folder again") from None
    if version > FORMAT:
        raise InputError(f"{path} is of format {version}, made by a newer fdrl_jax: this is {__version__}, update it")
    return content


def _params(experiment: builders.Experiment, path: pathlib.Path) -> Params:
    """The weights of a file in the structure that the config's network has."""
    arrays = convert.read_safetensors(path)
    abstract = sampling.abstract_state(experiment).params
    leaves, structure = jax.tree_util.tree_flatten_with_path(abstract)
    names = [jax.tree_util.keystr(key, simple=True, separator=".") for key, _ in leaves]
    wanted = {name: (leaf.shape, leaf.dtype) for name, (_, leaf) in zip(names, leaves, strict=True)}
    found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            there, here = (f"{x[name][1]} {x[name][0]}" if name in x else "absent" for x in (found, wanted))
            raise InputError(f"{path}: {name} is {there} there and {here} by {CONFIG_FILE}: copy the folder again")
    return jax.tree_util.tree_unflatten(structure, [jnp.asarray(arrays[name]) for name in names])


def fetch(address: str) -> pathlib.Path:
    """The folder with a model of the Hugging Face Hub, downloaded into the cache of `huggingface_hub` where need be.

    Only the three files that `read` needs are fetched, whatever else lies there.

    Args:
      address: hf://USER/NAME or hf://USER/NAME@REVISION, a branch, tag or commit.

    Raises:
      InputError: the address is not one, the `hub` extra is not installed, or the Hub does not give the files.
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
    # Its own errors are OSErrors or ValueErrors, as those of the network; the rest are not ours to hide.
    except (OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{address} cannot be had ({reason}): check the name, the network, or your access") from None
    return pathlib.Path(folder)
