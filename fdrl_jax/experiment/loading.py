"""Load a trained `Model` from a run's directory, an exported folder, the Hugging Face Hub, or the authors' files.

Exported folders and hf:// addresses are read by `exported_model`, the authors' PyTorch files by `authors_model`.
"""

import pathlib
from typing import Literal

from fdrl_jax import priors
from fdrl_jax.experiment import authors_model, builders, checkpoint, exported_model
from fdrl_jax.experiment.manifest import BEST, CHECKPOINTS
from fdrl_jax.experiment.model import Model, abstract_state, model_from_state
from fdrl_jax.experiment.workdir_files import CONFIG_FILE, read_best, read_config, read_prior
from fdrl_jax.types import InputError
from fdrl_jax.utils.validation import require_bool, require_integer, require_path

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
) -> Model:
    """Load the model of a training run, an exported model, or a checkpoint of the authors' PyTorch code.

        fdrl_jax.load("runs/digits")
        fdrl_jax.load("shared/digits")           # from fdrl_jax.export
        fdrl_jax.load("hf://user/digits@v1")     # the same on the Hugging Face Hub; pip install 'fdrl_jax[hub]'
        fdrl_jax.load("cifar10_LSIF_Pearson.pt", prior="cifar10_ddp.pt")

    A PyTorch file is read without PyTorch, and no code in it is run: only tensors and plain containers are accepted.

    Args:
      path: a run's --workdir, an exported folder or its hf:// address, or a .pt, .pth or .safetensors file.
      step: step of the checkpoint of a run; None takes the newest, "best" the one kept by `diagnostics.best`.
      ema: take the averaged parameters; False takes the online ones, which drive the flow in training. An exported
        folder has only one of the two.
      prior: prior of a .pt, .pth or .safetensors file, which contains none: a `Prior`, "uniform", or the path of the
        authors' pickled DDP (.pt) or of a run's prior.npz.
      loss, divergence: names of `losses.LOSSES` and `divergences.DIVERGENCES` for such a file; by default those in its
        config or its name.
      image_size: pixels per side for such a file, if its network is not in Table 3 and its config does not have it.

    Raises:
      InputError: there is no run, checkpoint or file, it is damaged, or an argument is not valid for it.
    """
    for_files = {"prior": prior, "loss": loss, "divergence": divergence, "image_size": image_size}
    address = path if isinstance(path, str) and path.startswith(exported_model.HUB) else None
    path = require_path("path", path, f"a run's directory, an exported folder or a {'/'.join(_SUFFIXES)} file")
    require_bool("ema", ema)
    if step is not None and step != "best":
        if isinstance(step, str):
            raise InputError(f"step = {step!r} must be the number of a checkpoint's step, 'best', or None")
        require_integer("step", step, 0)
    if address is not None or exported_model.is_exported(path):
        for name, value in {"step": step, **for_files}.items():
            if value is not None:
                raise InputError(f"{name} is not for an exported model, and {address or path} is one: leave it out")
        return exported_model.read(exported_model.fetch(address) if address is not None else path, ema)
    if path.suffix in _SUFFIXES and not path.is_dir():
        if step is not None:
            raise InputError(f"step = {step} is for a run's directory, and {path} is one checkpoint: leave it out")
        return authors_model.read(path, ema, prior, loss, divergence, image_size)
    for name, value in for_files.items():
        if value is not None:
            raise InputError(f"{name} is for a {'/'.join(_SUFFIXES)} file; the run in {path} has its own: leave it out")
    return _load_run(path, step, ema)


def _load_run(workdir: pathlib.Path, step: int | Literal["best"] | None, ema: bool) -> Model:
    config = read_config(workdir) if workdir.is_dir() else None
    if config is None:
        raise InputError(f"{workdir} holds no training run (no {CONFIG_FILE} in it): train one there first")
    if {"format", "fdrl_jax", "config"} <= config.keys():
        raise InputError(f"{workdir} is an exported model, and its model.safetensors is missing: copy the folder again")
    try:
        experiment = builders.build(config)
    except InputError as error:
        raise InputError(f"{workdir / CONFIG_FILE}: {error}") from None
    prior, _ = builders.place_prior(builders.load_prior(experiment, read_prior(workdir)))
    best = read_best(workdir) if step == "best" else None
    if step == "best":
        if best is None:
            raise InputError(f"{workdir} keeps no best checkpoint: train with diagnostics.best, or name a step")
        step = best["step"]
    with checkpoint.Checkpoints(workdir, folder=BEST if best else CHECKPOINTS) as checkpoints:
        if step is None:
            step = checkpoints.newest()
        if step is None:
            raise InputError(f"{workdir} has no checkpoint yet: train it for longer")
        if step not in checkpoints.all_steps():
            steps = ", ".join(map(str, checkpoints.all_steps())) or "none"
            raise InputError(f"{workdir} has no checkpoint of step {step}: there are {steps}")
        state = checkpoints.restore(step, abstract_state(experiment))
    return model_from_state(experiment, state, prior, ema)
