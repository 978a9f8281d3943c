"""`--mode=export`: from a training run to a folder that `loading.load` reads anywhere."""

import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from fdrl_jax import builders, exported, priors, sample_files, sampling
from fdrl_jax.arguments import require_integer, require_path
from fdrl_jax.loading import load
from fdrl_jax.observe import save_picture
from fdrl_jax.report.run import Record, read_run
from fdrl_jax.sharing.card import Facts, card
from fdrl_jax.sharing.licences import licences
from fdrl_jax.types import InputError

CARD_FILE = "README.md"
PICTURE_FILE = "samples.png"

# A prior above this is worth a word on how to make it smaller.
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
    """Write a run's model to a folder of its own: weights, prior, config, model card, picture. See `exported`.

    What will be written and how large it is, is printed first. `load(out)` then gives the samples that `load(workdir)`
    gives, bit for bit on the same machine, unless `rank` is given. Places of files on this machine do not go along.

    Args:
      workdir: the run.
      out: a new or empty folder. It appears whole or not at all.
      rank: keep so many directions of an exact data-dependent prior, and the exact variance of each pixel
        (`priors.reduce_rank`): r/D of its size, and other draws.
      step, ema: which parameters; see `loading.load`.
      num_samples: in the picture.
      licence: of the training data, for the card; by default what `sharing.licences` knows of it.
      progress: show a progress bar.

    Returns:
      The folder.

    Raises:
      InputError: there is no run, `out` is not empty or cannot be written, or `rank` does not go with the prior.
    """
    workdir = require_path("workdir", workdir, "a run's directory")
    out = require_path("out", out, "a new folder").resolve()
    require_integer("num_samples", num_samples, 1)
    if rank is not None:
        require_integer("rank", rank, 1)
    _check_out(out)
    model = load(workdir, step, ema)
    if exported.is_exported(workdir):
        raise InputError(f"{workdir} is an exported model, not a run: copy it as it is")
    facts_of_data = licences(model.experiment.config)
    if licence is not None:
        facts_of_data["training data"] = licence
    if rank is not None:
        model = _reduced(model, rank)
    arrays = _prior_arrays(model)
    weights, prior = (sum(a.nbytes for a in x.values()) for x in (exported.named(model.params), arrays))
    words = _prior_in_words(model, arrays)
    print(f"{out}: {exported.WEIGHTS_FILE} {_size(weights)}, {exported.PRIOR_FILE} {_size(prior)} ({words})")
    if prior > _LARGE and "factor" in arrays:
        print(f"prior: rank 1024 would take {_size(4 * 1026 * len(arrays['factor']))}: --rank=1024")
    _check_space(out.parent, weights + prior)

    run = read_run(workdir)
    own = [row for row in run.evaluations if _is_of(row, model.step, ema)]
    facts = Facts(
        title=out.name,
        ema=ema,
        num_parameters=weights // 4,
        prior=words,
        licences=facts_of_data,
        evaluations=[_without_places(row) for row in _newest(own)],
        others=len(run.evaluations) - len(own),
        num_samples=num_samples,
        reduced=rank is not None,
    )
    picture = sample_files.picture(model, sampling.sample(model, 0, num_samples, progress=progress), seed=0)
    model = _without_paths(model)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        folder = pathlib.Path(temporary, out.name)
        folder.mkdir()
        exported.write(folder, model.experiment.config, model.params, arrays, model.step, ema)
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


def _check_space(folder: pathlib.Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise InputError(f"{folder} has {_size(free)} free, and {_size(wanted)} are to be written: make room")


def _reduced(model: sampling.Model, rank: int) -> sampling.Model:
    """The model with a prior of lower rank, its config saying so."""
    prior = model.prior
    if not isinstance(prior, (priors.Gaussian, priors.HostGaussian)):
        raise InputError(f"--rank={rank} is for an exact data-dependent prior, and this one is {_kind(model)}")
    low = priors.reduce_rank(prior.mean, prior.factor, rank, prior.clip)
    print(f"prior: rank {rank} keeps {low.variance_kept():.2%} of the variance")
    config = model.experiment.config
    config = {**config, "prior": {**config["prior"], "rank": rank}}
    return sampling.Model(builders.build(config), model.params, builders.place_prior(low)[0], model.step)


def _prior_arrays(model: sampling.Model) -> dict[str, np.ndarray]:
    prior = model.prior
    if isinstance(prior, priors.HostGaussian):
        return {"mean": prior.mean, "factor": prior.factor}
    assert not isinstance(prior, priors.Given)  # That is the model inside `translate`, of one call.
    return builders.prior_arrays(prior)


def _kind(model: sampling.Model) -> str:
    config = model.experiment.config["prior"]
    if config["name"] == "ddp":
        return f"a Gaussian of rank {config['rank']} fitted to the data" if config["rank"] else "the data's Gaussian"
    return {"normal": "a standard normal, scaled", "uniform": "uniform", "dataset": "a set of images"}[config["name"]]


def _prior_in_words(model: sampling.Model, arrays: Mapping[str, np.ndarray]) -> str:
    if "images" in arrays:
        return f"{len(arrays['images']):,} images of the source domain, as they are: sharing it shares them"
    kind = _kind(model)
    return f"{kind}, exact" if "factor" in arrays else kind


def _is_of(row: Record, step: int, ema: bool) -> bool:
    """Whether an evaluation is of the model's own samples by these parameters."""
    return (row.get("step"), row.get("ema")) == (step, ema) and row.get("samples") == "the model's"


def _newest(rows: list[Record]) -> list[Record]:
    """Of evaluations alike in all but their date, the last."""
    alike = ("metric", "features", "protocol", "num_samples", "num_reference", "reference", "flow_steps", "seed")
    return list({tuple(row.get(name) for name in alike): row for row in rows}.values())


def _without_places(row: Record) -> Record:
    """An evaluation whose reference may be a file: its name alone."""
    words = [pathlib.PurePath(word).name if word.startswith(("/", "~")) else word for word in row["reference"].split()]
    return {**row, "reference": " ".join(words)} if "reference" in row else row


def _without_paths(model: sampling.Model) -> sampling.Model:
    """The model whose config names no folder of this machine: of a path outside where it ran, the last part."""

    def inside(path: str) -> str:
        pure = pathlib.PurePath(path)
        return pure.name or "data" if pure.is_absolute() or path.startswith("~") or ".." in pure.parts else path

    config: dict[str, Any] = dict(model.experiment.config)
    for group in ("data", "prior"):
        places = {name: inside(config[group][name]) for name in ("path", "cache") if name in config[group]}
        config[group] = {**config[group], **places}
    return sampling.Model(builders.build(config), model.params, model.prior, model.step)


def _size(num_bytes: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if num_bytes >= size / 10:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes / 2**10:.1f} KiB"
