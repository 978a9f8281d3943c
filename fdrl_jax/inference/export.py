"""Export of a run's model (`--mode=export`) to a self-contained folder, which `fdrl_jax.load` can read anywhere."""

import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from fdrl_jax import priors
from fdrl_jax.experiment import builders, exported_model
from fdrl_jax.experiment.loading import load
from fdrl_jax.experiment.model import Model
from fdrl_jax.experiment.run_record import Record, read_run
from fdrl_jax.inference import sample_files, sampling
from fdrl_jax.inference.data_licences import licences
from fdrl_jax.inference.model_card import Facts, card
from fdrl_jax.types import InputError
from fdrl_jax.utils.plotting import save_picture
from fdrl_jax.utils.validation import require_integer, require_path

CARD_FILE = "README.md"
PICTURE_FILE = "samples.png"

# Size in bytes above which the message about a prior says how to make it smaller.
_LARGE = 2**30


def export(
    workdir: str | pathlib.Path,
    out: str | pathlib.Path,
    *,
    rank: int | None = None,
    step: int | Literal["best"] | None = None,
    ema: bool = True,
    num_samples: int = 64,
    licence: str | None = None,
    progress: bool = True,
) -> pathlib.Path:
    """Write a run's model to a folder: weights, prior, config, model card and picture (see `exported_model`).

    The files and their sizes are printed before they are written. `load(out)` then gives the same samples as
    `load(workdir)`, bit for bit on the same machine, unless `rank` is given. Paths of this machine are not exported.

    Args:
      workdir: directory of the run.
      out: new or empty folder. After an error it is as before.
      rank: rank r to which an exact data-dependent prior is reduced by `priors.reduce_rank`, which keeps r directions
        and the exact variance of each pixel. The file then has r/D of its size, and the draws are different ones. None
        keeps the prior.
      step: step of the checkpoint, or "best"; see `loading.load`.
      ema: whether to export the averaged (EMA) parameters or the online ones.
      num_samples: number of samples in the picture.
      licence: licence of the training data, for the card; by default the line of `data_licences.licences`.
      progress: show a progress bar.

    Returns:
      The absolute path of the folder.

    Raises:
      InputError: `workdir` holds no run, `out` is not empty or cannot be written, or the prior has no such rank.
    """
    workdir = require_path("workdir", workdir, "a run's directory")
    out = require_path("out", out, "a new folder").resolve()
    require_integer("num_samples", num_samples, 1)
    if rank is not None:
        require_integer("rank", rank, 1)
    _check_out(out)
    model = load(workdir, step, ema)
    if exported_model.is_exported(workdir):
        raise InputError(f"{workdir} is an exported model, not a run: copy it as it is")
    data_licences = licences(model.experiment.config)
    if licence is not None:
        data_licences["training data"] = licence
    if rank is not None:
        model = _reduced(model, rank)
    arrays = _prior_arrays(model)
    weights, prior = (sum(a.nbytes for a in x.values()) for x in (exported_model.named(model.params), arrays))
    description = _describe_prior(model, arrays)
    sizes = f"{exported_model.WEIGHTS_FILE} {_size(weights)}, {exported_model.PRIOR_FILE} {_size(prior)}"
    print(f"{out}: {sizes} ({description})")
    if prior > _LARGE and "factor" in arrays:
        print(f"prior: rank 1024 would take {_size(4 * 1026 * len(arrays['factor']))}: --rank=1024")
    _check_space(out.parent, weights + prior)

    run = read_run(workdir)
    evaluations = [row for row in run.evaluations if _measures(row, model.step, ema)]
    facts = Facts(
        title=out.name,
        ema=ema,
        num_parameters=weights // 4,
        prior=description,
        licences=data_licences,
        evaluations=[_without_folders(row) for row in _newest(evaluations)],
        others=len(run.evaluations) - len(evaluations),
        num_samples=num_samples,
        reduced=rank is not None,
    )
    picture = sample_files.picture(model, sampling.sample(model, 0, num_samples, progress=progress), seed=0)
    model = _without_paths(model)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        folder = pathlib.Path(temporary, out.name)
        folder.mkdir()
        exported_model.write(folder, model.experiment.config, model.params, arrays, model.step, ema)
        save_picture(folder / PICTURE_FILE, picture)
        (folder / CARD_FILE).write_text(card(model, facts))
        try:
            os.replace(folder, out)
        except OSError as error:
            raise InputError(f"--out={out} cannot be made ({error.strerror}): name a new folder") from None
    return out


def _check_out(out: pathlib.Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out={out} is there already: name a new folder, or an empty one")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError(f"--out={out} cannot be made: check {out.parent}")


def _check_space(folder: pathlib.Path, num_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise InputError(f"{folder} has {_size(free)} free, and {_size(num_bytes)} are to be written: make room")


def _reduced(model: Model, rank: int) -> Model:
    """Return the model with its prior reduced to `rank`, and `prior.rank` set in its config."""
    prior = model.prior
    if not isinstance(prior, (priors.Gaussian, priors.HostGaussian)):
        raise InputError(f"--rank={rank} is for an exact data-dependent prior, and this one is {_prior_kind(model)}")
    low = priors.reduce_rank(prior.mean, prior.factor, rank, prior.clip)
    print(f"prior: rank {rank} keeps {low.variance_kept():.2%} of the variance")
    config = model.experiment.config
    config = {**config, "prior": {**config["prior"], "rank": rank}}
    return Model(builders.build(config), model.params, builders.place_prior(low)[0], model.step)


def _prior_arrays(model: Model) -> dict[str, np.ndarray]:
    """Return the arrays of the prior, as `builders.load_prior` takes them."""
    prior = model.prior
    if isinstance(prior, priors.HostGaussian):
        return {"mean": prior.mean, "factor": prior.factor}
    assert not isinstance(prior, priors.FixedImages)  # Only the model inside a call of `translate` has this prior.
    return builders.prior_arrays(prior)


def _prior_kind(model: Model) -> str:
    """Return the kind of the prior in words."""
    config = model.experiment.config["prior"]
    if config["name"] == "ddp":
        return f"a Gaussian of rank {config['rank']} fitted to the data" if config["rank"] else "the data's Gaussian"
    return {"normal": "a standard normal, scaled", "uniform": "uniform", "dataset": "a set of images"}[config["name"]]


def _describe_prior(model: Model, arrays: Mapping[str, np.ndarray]) -> str:
    """Return the prior in words; for a set of images, with their number and a warning that they are exported."""
    if "images" in arrays:
        return f"{len(arrays['images']):,} images of the source domain, as they are: sharing it shares them"
    kind = _prior_kind(model)
    return f"{kind}, exact" if "factor" in arrays else kind


def _measures(row: Record, step: int, ema: bool) -> bool:
    """Return True if an evaluation measures samples that the model drew with these parameters."""
    return (row.get("step"), row.get("ema")) == (step, ema) and row.get("samples") == "the model's"


def _newest(rows: list[Record]) -> list[Record]:
    """Return the newest of every group of evaluations that differ only in their date and result."""
    same = ("metric", "features", "protocol", "num_samples", "num_reference", "reference", "flow_steps", "seed")
    return list({tuple(row.get(name) for name in same): row for row in rows}.values())


def _without_folders(row: Record) -> Record:
    """Return an evaluation with paths in its reference replaced by the names of the files."""
    words = [pathlib.PurePath(word).name if word.startswith(("/", "~")) else word for word in row["reference"].split()]
    return {**row, "reference": " ".join(words)} if "reference" in row else row


def _without_paths(model: Model) -> Model:
    """Return the model with paths in its config that leave the working directory replaced by their last part."""

    def shortened(path: str) -> str:
        pure = pathlib.PurePath(path)
        return pure.name or "data" if pure.is_absolute() or path.startswith("~") or ".." in pure.parts else path

    config: dict[str, Any] = dict(model.experiment.config)
    for group in ("data", "prior"):
        paths = {name: shortened(config[group][name]) for name in ("path", "cache") if name in config[group]}
        config[group] = {**config[group], **paths}
    return Model(builders.build(config), model.params, model.prior, model.step)


def _size(num_bytes: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if num_bytes >= size / 10:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes / 2**10:.1f} KiB"
