"""From files to a `Model`: a run's directory, an exported one, or a checkpoint of the authors' PyTorch code."""

import pathlib
import reprlib
from collections.abc import Mapping
from typing import Any, Literal

from fdrl_jax import builders, checkpoint, convert, exported, priors, sampling, sharding
from fdrl_jax.arguments import require_bool, require_integer, require_path
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.losses import LOSSES
from fdrl_jax.types import InputError

# Their names of losses and divergences, in a config and in the name of a file (cifar10_LSIF_Pearson.pt).
_LOSSES = {"LSIF": "lsif", "LR": "lr", "KL": "kliep"}
_DIVERGENCES = {"Pearson": "chi2", "KL": "kl", "JS": "js", "logD": "logd"}
_DATASETS = {"cifar10": "cifar10", "celeba": "celeba"}

_SUFFIXES = (".pt", ".pth", ".safetensors")


def load(
    path: str | pathlib.Path,
    step: int | Literal["best"] | None = None,
    ema: bool = True,
    *,
    prior: priors.Prior | str | pathlib.Path | None = None,
    loss: str | None = None,
    divergence: str | None = None,
    image_size: int | None = None,
) -> sampling.Model:
    """The model of a training run, of an exported one, or of a checkpoint of the authors' PyTorch code.

        fdrl_jax.load("runs/digits")
        fdrl_jax.load("shared/digits")           # from fdrl_jax.export
        fdrl_jax.load("hf://user/digits@v1")     # the same on the Hugging Face Hub; pip install 'fdrl_jax[hub]'
        fdrl_jax.load("cifar10_LSIF_Pearson.pt", prior="cifar10_ddp.pt")

    A PyTorch file is read without PyTorch, and nothing in it is run: tensors and plain containers only.

    Args:
      path: a run's --workdir, an exported folder or its hf:// address, or a .pt, .pth or .safetensors file.
      step: of a run: which checkpoint; the newest by default. "best": the one kept by `diagnostics.best`.
      ema: take the averaged parameters; False takes the online ones, which drive the flow in training. An exported
        folder has one of the two.
      prior: of a file, which has none in it: a `Prior`, "uniform", or the path of their pickled DDP (.pt) or of a run's
        prior.npz.
      loss, divergence: of a file: names of `losses.LOSSES` and `divergences.DIVERGENCES`; by default what the file's
        config or its name says.
      image_size: of a file: pixels a side, where its network is not in Table 3 and its config does not say.

    Raises:
      InputError: there is no run, checkpoint or file, it is damaged, or an argument does not go with it.
    """
    for_files = {"prior": prior, "loss": loss, "divergence": divergence, "image_size": image_size}
    address = path if isinstance(path, str) and path.startswith(exported.HUB) else None
    path = require_path("path", path, f"a run's directory, an exported folder or a {'/'.join(_SUFFIXES)} file")
    require_bool("ema", ema)
    if step is not None and step != "best":
        if isinstance(step, str):
            raise InputError(f"step = {step!r} must be the number of a checkpoint's step, 'best', or None")
        require_integer("step", step, 0)
    if address is not None or exported.is_exported(path):
        for name, value in {"step": step, **for_files}.items():
            if value is not None:
                raise InputError(f"{name} is not for an exported model, and {address or path} is one: leave it out")
        return exported.read(exported.fetch(address) if address is not None else path, ema)
    if path.suffix in _SUFFIXES and not path.is_dir():
        if step is not None:
            raise InputError(f"step = {step} is for a run's directory, and {path} is one checkpoint: leave it out")
        return _load_file(path, ema, prior, loss, divergence, image_size)
    for name, value in for_files.items():
        if value is not None:
            raise InputError(f"{name} is for a {'/'.join(_SUFFIXES)} file; the run in {path} has its own: leave it out")
    return _load_run(path, step, ema)


def _load_run(workdir: pathlib.Path, step: int | Literal["best"] | None, ema: bool) -> sampling.Model:
    config = checkpoint.read_config(workdir) if workdir.is_dir() else None
    if config is None:
        raise InputError(f"{workdir} holds no training run (no {checkpoint.CONFIG_FILE} in it): train one there first")
    if {"format", "fdrl_jax", "config"} <= config.keys():
        raise InputError(f"{workdir} is an exported model, and its model.safetensors is missing: copy the folder again")
    try:
        experiment = builders.build(config)
    except InputError as error:
        raise InputError(f"{workdir / checkpoint.CONFIG_FILE}: {error}") from None
    prior, _ = builders.place_prior(builders.load_prior(experiment, checkpoint.read_prior(workdir)))
    best = checkpoint.read_best(workdir) if step == "best" else None
    if step == "best":
        if best is None:
            raise InputError(f"{workdir} keeps no best checkpoint: train with diagnostics.best, or name a step")
        step = best["step"]
    with checkpoint.Checkpoints(workdir, folder=checkpoint.BEST if best else checkpoint.CHECKPOINTS) as checkpoints:
        if step is None:
            step = checkpoints.newest()
        if step is None:
            raise InputError(f"{workdir} has no checkpoint yet: train it for longer")
        if step not in checkpoints.all_steps():
            steps = ", ".join(map(str, checkpoints.all_steps())) or "none"
            raise InputError(f"{workdir} has no checkpoint of step {step}: there are {steps}")
        state = checkpoints.restore(step, sampling.abstract_state(experiment))
    return sampling.trained(experiment, state, prior, ema)


def _load_file(
    path: pathlib.Path,
    ema: bool,
    prior: priors.Prior | str | pathlib.Path | None,
    loss: str | None,
    divergence: str | None,
    image_size: int | None,
) -> sampling.Model:
    network, theirs = convert.read_checkpoint(path, ema, image_size)
    loss = _named("loss", loss, theirs.get("loss_function"), path, _LOSSES, LOSSES)
    divergence = _named("divergence", divergence, theirs.get("f_divergence"), path, _DIVERGENCES, DIVERGENCES)
    source = _prior(path, prior, network.architecture.event_shape)
    experiment = builders.build(_config(path, network, theirs, loss, divergence, source))
    weights = sharding.same(experiment.recipe.estimator.effective(network.params, network.spectral))
    return sampling.Model(experiment, weights, builders.place_prior(source)[0], int(theirs.get("step", 0)))


def _named(
    what: str, given: str | None, stated: Any, path: pathlib.Path, theirs: Mapping[str, str], ours: Mapping[str, Any]
) -> str:
    """Our name of a file's loss or divergence: as given, as its config states it, or as its own name has it."""
    if given is not None:
        return given
    if stated is None:
        # The loss comes before the divergence in their file names, and both may be KL.
        words = [word for word in path.stem.split("_") if word in theirs]
        stated = None if not words else words[0 if what == "loss" else -1]
    if not isinstance(stated, str) or stated not in theirs:
        raise InputError(f"{path} does not say its {what}: pass {what}=, one of {', '.join(ours)}")
    return theirs[stated]


def _prior(path: pathlib.Path, prior: Any, shape: tuple[int, int, int]) -> priors.Prior:
    if prior is None:
        raise InputError(f"{path} has no prior in it: pass prior='uniform', or the path of the authors' ..._ddp.pt")
    if isinstance(prior, str) and prior == "uniform":
        return priors.Uniform(shape)
    if isinstance(prior, (str, pathlib.Path)):
        file = pathlib.Path(prior)
        if file.suffix == ".npz":
            arrays = checkpoint.read_arrays(file)
            if not arrays.keys() >= {"mean", "factor"}:
                raise InputError(f"{file} has no 'mean' and 'factor': pass the prior.npz of a run with an exact DDP")
            mean, factor = arrays["mean"], arrays["factor"]
        else:
            mean, factor = convert.read_ddp(file, shape)
        prior = priors.Gaussian(mean, factor)
    if not isinstance(prior, priors.Prior) or prior.event_shape != shape:
        found = getattr(prior, "event_shape", type(prior).__name__)
        raise InputError(
            f"prior is of {found} and the network in {path} of images {shape}: pass the prior it was made with"
        )
    return prior


def _config(
    path: pathlib.Path,
    network: convert.Network,
    theirs: Mapping[str, Any],
    loss: str,
    divergence: str,
    prior: priors.Prior,
) -> dict[str, Any]:
    """The config of this package that says what theirs does.

    Raises:
      InputError: theirs has something else where a number should be.
    """

    def number(name: str, default: float) -> float:
        value = theirs.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            # Not all of it: lists within lists within lists can be small in the file and endless in print.
            shown = reprlib.repr(value)
            raise InputError(f"{path}: its config has {name} = {shown}, not a number: is it a checkpoint of FDRL?")
        if not abs(value) <= 3e38:
            raise InputError(f"{path}: its config has {name} = {value:g}, which is no finite number in float32")
        return value

    size, _, channels = network.architecture.event_shape
    stated, place = theirs.get("dataset"), theirs.get("data_dir")
    name = _DATASETS.get(stated, "folder") if isinstance(stated, str) else "folder"
    data = {
        "name": name,
        "path": place if isinstance(place, str) and place else "data",
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
