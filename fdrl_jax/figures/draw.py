"""`--mode=figures`: every figure of the paper that a run can have, into files."""

import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fdrl_jax import builders, checkpoint, interpolation, loading, sampling
from fdrl_jax.features import Features, pixels
from fdrl_jax.figures import animation, flow_length, grids, neighbours, plane, table
from fdrl_jax.figures.interpolation import interpolation_picture
from fdrl_jax.figures.naming import method_name, provenance
from fdrl_jax.figures.run import FRESH, GRID, PARTICLES, Run
from fdrl_jax.files import atomic
from fdrl_jax.priors import Whitened
from fdrl_jax.types import InputError

DEFAULT_NUM_SAMPLES = 1000

# How many rows, and images in an animation.
_ROWS, _ANIMATED = 8, 16


# --- one function a figure: writes its files, and yields their paths ---


def _fig2(run: Run) -> Iterator[pathlib.Path]:
    times, states = run.trajectory(PARTICLES, 101)
    yield run.save("fig2", plane.flow_panels(run.model, times, states, run.points[:PARTICLES], run.seed))


def _fig3(run: Run) -> Iterator[pathlib.Path]:
    with checkpoint.Checkpoints(run.workdir) as checkpoints:
        kept = checkpoints.all_steps()
    # More panels would be too small. Most happens early: the steps shown grow by a factor.
    shown = np.abs(np.geomspace(kept[0], kept[-1], 5)[:, None] - kept).argmin(axis=1)
    kept = [kept[i] for i in np.unique(shown)]
    models = [loading.load(run.workdir, step, ema=False) for step in kept]
    samples = [
        sampling.sample(model, run.seed, PARTICLES, batch_size=run.batch_size, progress=run.progress)
        for model in models
    ]
    draws, points = run.draws[:PARTICLES], run.points[:PARTICLES]
    yield run.save("fig3", plane.training_panels(models, samples, draws, points, run.seed))


def _fig4(run: Run) -> Iterator[pathlib.Path]:
    yield run.save("fig4", grids.uncurated(run.model, run.samples[:GRID], run.seed))


def _fig5(run: Run) -> Iterator[pathlib.Path]:
    note = ""
    if run.is_image:
        metrics = flow_length.image_metrics(run.images, run.num_samples, run.seed)
        note = (
            f"Against training images: all {len(run.images):,} for the Fréchet distance (which shrinks as "
            "samples grow in number: compare it along the curve), for the others as many as there are samples."
        )
    else:
        metrics = flow_length.point_metrics(run.dataset.batch(run.seed, FRESH + 1, run.num_samples))
        note = "Against as many fresh points of the data."
    curves = flow_length.flow_length_curves(
        run.model, run.seed, run.num_samples, metrics, batch_size=run.batch_size, progress=run.progress
    )
    yield run.save("fig5", flow_length.flow_length_picture(run.model, curves, run.num_samples, run.seed, note))
    numbers = {name: {key: array.tolist() for key, array in curve._asdict().items()} for name, curve in curves.items()}
    with atomic(run.out / "fig5.json") as path:
        about = {"run": provenance(run.model, run.seed), "num_samples": run.num_samples, "note": note}
        path.write_text(json.dumps({**about, "metrics": numbers}, indent=1, ensure_ascii=False) + "\n")
    yield run.out / "fig5.json"


def _fig8(run: Run) -> Iterator[pathlib.Path]:
    name = "fig7" if run.model.experiment.config["prior"]["name"] == "dataset" else "fig8"
    caption = provenance(run.model, run.seed)
    if run.is_image:
        times, states = run.trajectory(_ROWS, 11)
        yield run.save(name, grids.flow_rows(run.model, times, states, run.seed))
        frames = animation.image_frames(*run.trajectory(_ANIMATED, animation.MOST_FRAMES), caption)
    else:
        times, states = run.trajectory(PARTICLES, animation.MOST_FRAMES)
        frames = animation.point_frames(times, states, run.points[:PARTICLES], caption)
    for suffix in ("gif", "webp"):
        path = run.out / f"{name}.{suffix}"
        animation.write_animation(path, frames)
        yield path


def _fig9(run: Run) -> Iterator[pathlib.Path]:
    images = interpolation.interpolate(run.model, run.seed, num_pairs=_ROWS, num_between=10)
    yield run.save("fig9", interpolation_picture(run.model, images, run.seed))


def _fig10(run: Run) -> Iterator[pathlib.Path]:
    picture = plane.samples_beside_data(run.model, run.samples, run.draws, run.points, run.seed)
    yield run.save("fig10", picture)


def _fig11(run: Run) -> Iterator[pathlib.Path]:
    yield run.save("fig11", grids.prior_and_samples(run.model, run.draws[:36], run.samples[:36], run.seed))


def _fig12(run: Run) -> Iterator[pathlib.Path]:
    samples, flip = run.samples[: run.num_samples], run.model.experiment.config["data"]["flip"]
    others = builders.held_out(run.model.experiment, run.progress)
    for space in run.spaces:
        found = neighbours.memorisation(samples, run.images, others, space, mirrored=flip, seed=run.seed)
        name = f"fig12_{space.slug}"
        yield run.save(name, neighbours.neighbours_picture(run.model, samples, run.images, found, run.seed))
        yield run.save(f"{name}_distances", neighbours.distances_picture(run.model, found, run.seed))
        path = run.out / f"{name}.npz"
        with atomic(path) as temporary:
            np.savez(temporary, **{key: np.asarray(value) for key, value in found._asdict().items()})  # type: ignore[arg-type]
        yield path


def _ratio(run: Run) -> Iterator[pathlib.Path]:
    yield run.save("ratio", plane.ratio_map(run.model, run.samples, run.draws, run.points, run.seed))


def _table1(run: Run) -> Iterator[pathlib.Path]:
    rows, method = table.read_evaluation(run.workdir), method_name(run.model.experiment)
    yield run.save("table1", table.table1_picture(rows, method))
    with atomic(run.out / "table1.md") as path:
        path.write_text(table.table1(rows, method))
    yield run.out / "table1.md"


# --- which figures a run has ---


def _images(run: Run) -> str:
    return "" if run.is_image else "it is of images, and this run's data are points"


def _points(run: Run) -> str:
    return "it is of points in the plane, and this run's data are images" if run.is_image else ""


def _any(run: Run) -> str:
    return ""


def _whitened(run: Run) -> str:
    return _images(run) or (
        "" if isinstance(run.model.prior, Whitened) else "there is nothing between two images of the source domain"
    )


def _measured(run: Run) -> str:
    if table.fids(table.read_evaluation(run.workdir)):
        return ""
    return f"no FID was measured yet: there is none in {run.workdir / table.EVALUATION_FILE}"


# Name -> what draws it, and why it cannot be drawn of a run ("" where it can).
FIGURES: dict[str, tuple[Callable[[Run], Iterator[pathlib.Path]], Callable[[Run], str]]] = {
    "fig2": (_fig2, _points),
    "fig3": (_fig3, _points),
    "fig4": (_fig4, _images),
    "fig5": (_fig5, _any),
    "fig8": (_fig8, _any),
    "fig9": (_fig9, _whitened),
    "fig10": (_fig10, _points),
    "fig11": (_fig11, _images),
    "fig12": (_fig12, _images),
    "ratio": (_ratio, _points),
    "table1": (_table1, _measured),
}

# Figures of the paper that are another one's of other data or settings.
_SAME = {"fig7": "fig8", "fig13": "fig12"} | {f"fig{i}": "fig4" for i in range(14, 22)}


def write_figures(
    workdir: str | pathlib.Path,
    names: Sequence[str] | None = None,
    out: str | pathlib.Path | None = None,
    seed: int = 0,
    num_samples: int = DEFAULT_NUM_SAMPLES,
    batch_size: int | None = None,
    spaces: Sequence[Features] | None = None,
    progress: bool = True,
    log: Callable[[str], None] = print,
) -> list[pathlib.Path]:
    """`--mode=figures`: draw figures of a run, each as PNG, with its numbers or animation beside it.

    Args:
      workdir: of the run.
      names: of `FIGURES`; by default all that the run can have.
      out: folder, made if missing; WORKDIR/figures by default. Files of these names there are replaced.
      seed: of all samples.
      num_samples: how many are measured, in fig5 and fig12.
      batch_size: how many are flowed at a time.
      spaces: the feature spaces of fig12; pixels by default.
      progress: show progress bars.
      log: told of each file as it is written, and of each figure left out.

    Returns:
      The files written.

    Raises:
      InputError: there is no run in `workdir`, a figure is unknown or was asked for and cannot be drawn of this run, or
        the folder cannot be made.
    """
    chosen = list(FIGURES) if names is None else list(dict.fromkeys(_SAME.get(name, name) for name in names))
    if not chosen:
        raise InputError(f"no figure is named: figures are {', '.join(FIGURES)}")
    for name in chosen:
        if name not in FIGURES:
            raise InputError(f"there is no figure {name!r}: figures are {', '.join(FIGURES)}")
    model = loading.load(workdir)
    out = pathlib.Path(workdir) / "figures" if out is None else pathlib.Path(out)
    run = Run(pathlib.Path(workdir), model, out, seed, num_samples, batch_size, spaces or [pixels()], progress)
    reasons = {name: FIGURES[name][1](run) for name in chosen}
    for name, reason in reasons.items():
        if reason and names is not None:
            raise InputError(f"{name} cannot be drawn of {workdir}: {reason}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out={out} cannot be made: {error.strerror}; name another folder") from None
    written = []
    for name in (name for name, reason in reasons.items() if not reason):
        try:
            for path in FIGURES[name][0](run):
                written.append(path)
                log(f"{name}: {path}")
        except InputError as error:
            if names is not None:
                raise
            # Of all figures, those that can be drawn are better than none: the data may be gone from this machine.
            log(f"{name}: left out: {error}")
    return written
