"""A `Model` from a checkpoint of the authors' PyTorch code (.pt, .pth) or from a .safetensors file of its network.

The files are read by `models.convert`. This module adds the prior, which such a file does not contain, and the config
of this package that describes the same experiment.
"""

import pathlib
import reprlib
from collections.abc import Mapping
from typing import Any

from fdrl_jax import priors
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import Model
from fdrl_jax.experiment.workdir_files import read_arrays
from fdrl_jax.losses import LOSSES
from fdrl_jax.models import convert
from fdrl_jax.models.spectral_norm import normalise
from fdrl_jax.types import InputError
from fdrl_jax.utils import sharding

# The authors' names of losses and divergences, in a config and in a file name (cifar10_LSIF_Pearson.pt), and ours.
_LOSSES = {"LSIF": "lsif", "LR": "lr", "KL": "kliep"}
_DIVERGENCES = {"Pearson": "chi2", "KL": "kl", "JS": "js", "logD": "logd"}
_DATASETS = {"cifar10": "cifar10", "celeba": "celeba"}


def read(
    path: pathlib.Path,
    ema: bool,
    prior: priors.Prior | str | pathlib.Path | None,
    loss: str | None,
    divergence: str | None,
    image_size: int | None,
) -> Model:
    """Read a checkpoint of the authors' code.

    Args:
      path: a .pt, .pth or .safetensors file.
      ema, prior, loss, divergence, image_size: see `loading.load`.

    Raises:
      InputError: a file cannot be read, or an argument is missing or not valid for it.
    """
    network, stored = convert.read_checkpoint(path, ema, image_size)
    loss = _resolved_name("loss", loss, stored.get("loss_function"), path, _LOSSES, LOSSES)
    divergence = _resolved_name("divergence", divergence, stored.get("f_divergence"), path, _DIVERGENCES, DIVERGENCES)
    resolved_prior = _resolved_prior(path, prior, network.architecture.event_shape)
    experiment = builders.build(_config(path, network, stored, loss, divergence, resolved_prior))
    weights = sharding.replicate(normalise(network.params, network.spectral))
    return Model(experiment, weights, builders.place_prior(resolved_prior)[0], int(stored.get("step", 0)))


def _resolved_name(
    what: str,
    argument: str | None,
    stored: Any,
    path: pathlib.Path,
    translations: Mapping[str, str],
    ours: Mapping[str, Any],
) -> str:
    """Return our name of the loss or divergence: the argument, or else that of the file's config, or of the file name.

    Args:
      what: "loss" or "divergence".
      argument: the argument of `loading.load`.
      stored: the authors' name in the file's config; None if there is none.
      path: the file.
      translations: our names by the authors' names.
      ours: all our names, for the message.

    Raises:
      InputError: there is no argument, and neither the config nor the file name has one of the authors' names.
    """
    if argument is not None:
        return argument
    if stored is None:
        # In the authors' file names the loss comes before the divergence, and both may be KL.
        words = [word for word in path.stem.split("_") if word in translations]
        stored = None if not words else words[0 if what == "loss" else -1]
    if not isinstance(stored, str) or stored not in translations:
        raise InputError(f"{path} does not say its {what}: pass {what}=, one of {', '.join(ours)}")
    return translations[stored]


def _resolved_prior(path: pathlib.Path, prior: Any, shape: tuple[int, int, int]) -> priors.Prior:
    """Return the prior that the argument `prior` of `loading.load` describes, for images of `shape` (H, W, C)."""
    if prior is None:
        raise InputError(f"{path} has no prior in it: pass prior='uniform', or the path of the authors' ..._ddp.pt")
    if isinstance(prior, str) and prior == "uniform":
        return priors.Uniform(shape)
    if isinstance(prior, (str, pathlib.Path)):
        file = pathlib.Path(prior)
        if file.suffix == ".npz":
            arrays = read_arrays(file)
            if not arrays.keys() >= {"mean", "factor"}:
                raise InputError(f"{file} has no 'mean' and 'factor': pass the prior.npz of a run with an exact DDP")
            mean, factor = arrays["mean"], arrays["factor"]
        else:
            mean, factor = convert.read_ddp(file, shape)
        prior = priors.Gaussian(mean, factor)
    if not isinstance(prior, priors.Prior) or prior.event_shape != shape:
        actual = getattr(prior, "event_shape", type(prior).__name__)
        raise InputError(
            f"prior is of {actual} and the network in {path} of images {shape}: pass the prior it was made with"
        )
    return prior


def _config(
    path: pathlib.Path,
    network: convert.Network,
    stored: Mapping[str, Any],
    loss: str,
    divergence: str,
    prior: priors.Prior,
) -> dict[str, Any]:
    """Return the config of this package that describes the same experiment as the file's config.

    Args:
      path: the file, for messages.
      network: the network in the file.
      stored: the file's config; fields that it lacks have the paper's values.
      loss, divergence: our names.
      prior: the prior to sample from.

    Raises:
      InputError: a field of the file's config is not a number that float32 can represent.
    """

    def number(name: str, default: float) -> float:
        value = stored.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            # Lists nested in lists may be small in the file, and too long to print in full.
            shown = reprlib.repr(value)
            raise InputError(f"{path}: its config has {name} = {shown}, not a number: is it a checkpoint of FDRL?")
        if not abs(value) <= 3e38:
            raise InputError(f"{path}: its config has {name} = {value:g}, which is no finite number in float32")
        return value

    size, _, channels = network.architecture.event_shape
    dataset, folder = stored.get("dataset"), stored.get("data_dir")
    name = _DATASETS.get(dataset, "folder") if isinstance(dataset, str) else "folder"
    data = {
        "name": name,
        "path": folder if isinstance(folder, str) and folder else "data",
        "cache": "data/cache",
        "transform": "",
        "part": "0/1",
        "image_size": size,
        "channels": channels,
        "batch_size": 64,
        "flip": True,
        "dequantize_sigma": 0.03,
        "on_error": "stop",
    }
    if name in _DATASETS:
        data["split"] = "train"
    fitted = isinstance(prior, priors.Gaussian)
    return {
        "seed": 0,
        "loss": loss,
        "divergence": divergence,
        "ema_decay": number("ema_rate", 0.998),
        "precision": "float32",
        "data": data,
        "prior": {"name": "ddp", "rank": 0, "jitter": 1e-4} if fitted else {"name": "uniform"},
        "model": network.config(),
        "flow": {
            "num_steps": int(number("n_flow_steps", 100)),
            "kappa": 20 if fitted else 10,
            "step_size": number("eta", 3.0),
            "noise": number("noise_factor", 1e-2),
            "guided": True,
        },
        "optimizer": {"learning_rate": 1e-4, "decay_steps": (), "decay_factor": 0.1, "b1": 0.9, "b2": 0.999},
        "train": {"num_steps": 100_000, "log_every": 100, "sample_every": 1_000, "checkpoint_every": 1_000, "keep": 2},
    }
