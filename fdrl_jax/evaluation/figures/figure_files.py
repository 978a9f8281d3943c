"""`--mode=figures`: draw the figures of the paper that a run can have, and write them to files."""

import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fdrl_jax.evaluation.features import Features, pixels
from fdrl_jax.evaluation.figures import animation, table1_fid
from fdrl_jax.evaluation.figures import fig5_metrics_by_flow_length as fig5
from fdrl_jax.evaluation.figures import fig12_nearest_training_images as fig12
from fdrl_jax.evaluation.figures.density_ratio_map import ratio_map
from fdrl_jax.evaluation.figures.fig2_flow_of_points import flow_panels
from fdrl_jax.evaluation.figures.fig3_training_on_points import training_panels
from fdrl_jax.evaluation.figures.fig4_uncurated_samples import uncurated
from fdrl_jax.evaluation.figures.fig8_flow_of_images import flow_rows
from fdrl_jax.evaluation.figures.fig9_interpolation import interpolation_picture
from fdrl_jax.evaluation.figures.fig10_samples_over_data import samples_beside_data
from fdrl_jax.evaluation.figures.fig11_prior_and_samples import prior_and_samples
from fdrl_jax.evaluation.figures.figure_inputs import NUM_IMAGES, NUM_POINTS, UNSEEN_STEP, FigureInputs
from fdrl_jax.experiment import builders, checkpoint, loading, naming
from fdrl_jax.experiment.workdir_files import EVALUATION_FILE
from fdrl_jax.inference import interpolation, sampling
from fdrl_jax.priors import Whitened
from fdrl_jax.types import InputError
from fdrl_jax.utils.atomic_files import atomic

DEFAULT_NUM_SAMPLES = 1000

# Number of rows in a figure that has one row per sample, of images in an animation, and of pairs in Fig. 11.
_NUM_ROWS, _NUM_ANIMATED, _NUM_PAIRS = 8, 16, 36


# --- One function per figure: it writes the files of the figure and yields their paths. ---


def _fig2(run: FigureInputs) -> Iterator[pathlib.Path]:
    times, states = run.trajectory(NUM_POINTS, 101)
    yield run.save("fig2", flow_panels(run.model, times, states, run.points[:NUM_POINTS], run.seed))


def _fig3(run: FigureInputs) -> Iterator[pathlib.Path]:
    with checkpoint.Checkpoints(run.workdir) as checkpoints:
        steps = checkpoints.all_steps()
    # More than five panels would be too small. Samples change most at the beginning, so the steps grow geometrically.
    shown = np.abs(np.geomspace(steps[0], steps[-1], 5)[:, None] - steps).argmin(axis=1)
    steps = [steps[i] for i in np.unique(shown)]
    models = [loading.load(run.workdir, step, ema=False) for step in steps]
    samples = [
        sampling.sample(model, run.seed, NUM_POINTS, batch_size=run.batch_size, progress=run.progress)
        for model in models
    ]
    draws, points = run.draws[:NUM_POINTS], run.points[:NUM_POINTS]
    yield run.save("fig3", training_panels(models, samples, draws, points, run.seed))


def _fig4(run: FigureInputs) -> Iterator[pathlib.Path]:
    yield run.save("fig4", uncurated(run.model, run.samples[:NUM_IMAGES], run.seed))


def _fig5(run: FigureInputs) -> Iterator[pathlib.Path]:
    if run.is_image:
        metrics = fig5.image_metrics(run.images, run.num_samples, run.seed)
        note = (
            f"Against training images: all {len(run.images):,} for the Fréchet distance, which shrinks as the number "
            "of samples grows (compare it only along the curve); as many as there are samples for the other metrics."
        )
    else:
        metrics = fig5.point_metrics(run.dataset.batch(run.seed, UNSEEN_STEP + 1, run.num_samples))
        note = "Against as many fresh points of the data."
    curves = fig5.flow_length_curves(
        run.model, run.seed, run.num_samples, metrics, batch_size=run.batch_size, progress=run.progress
    )
    yield run.save("fig5", fig5.flow_length_picture(run.model, curves, run.num_samples, run.seed, note))
    numbers = {name: {key: array.tolist() for key, array in curve._asdict().items()} for name, curve in curves.items()}
    with atomic(run.out / "fig5.json") as path:
        about = {"run": naming.provenance(run.model, run.seed), "num_samples": run.num_samples, "note": note}
        path.write_text(json.dumps({**about, "metrics": numbers}, indent=1, ensure_ascii=False) + "\n")
    yield run.out / "fig5.json"


def _fig8(run: FigureInputs) -> Iterator[pathlib.Path]:
    name = "fig7" if naming.is_translation(run.model.experiment) else "fig8"
    caption = naming.provenance(run.model, run.seed)
    if run.is_image:
        times, states = run.trajectory(_NUM_ROWS, 11)
        yield run.save(name, flow_rows(run.model, times, states, run.seed))
        frames = animation.image_frames(*run.trajectory(_NUM_ANIMATED, animation.MAX_FRAMES), caption)
    else:
        times, states = run.trajectory(NUM_POINTS, animation.MAX_FRAMES)
        frames = animation.point_frames(times, states, run.points[:NUM_POINTS], caption)
    for suffix in ("gif", "webp"):
        path = run.out / f"{name}.{suffix}"
        animation.write_animation(path, frames)
        yield path


def _fig9(run: FigureInputs) -> Iterator[pathlib.Path]:
    images = interpolation.interpolate(run.model, run.seed, num_pairs=_NUM_ROWS, num_between=10)
    yield run.save("fig9", interpolation_picture(run.model, images, run.seed))


def _fig10(run: FigureInputs) -> Iterator[pathlib.Path]:
    yield run.save("fig10", samples_beside_data(run.model, run.samples, run.draws, run.points, run.seed))


def _fig11(run: FigureInputs) -> Iterator[pathlib.Path]:
    draws, samples = run.draws[:_NUM_PAIRS], run.samples[:_NUM_PAIRS]
    yield run.save("fig11", prior_and_samples(run.model, draws, samples, run.seed))


def _fig12(run: FigureInputs) -> Iterator[pathlib.Path]:
    samples, flip = run.samples[: run.num_samples], run.model.experiment.config["data"]["flip"]
    held_out = builders.held_out(run.model.experiment, run.progress)
    for space in run.spaces:
        result = fig12.memorisation(samples, run.images, held_out, space, mirrored=flip, seed=run.seed)
        name = f"fig12_{space.slug}"
        yield run.save(name, fig12.neighbours_picture(run.model, samples, run.images, result, run.seed))
        yield run.save(f"{name}_distances", fig12.distances_picture(run.model, result, run.seed))
        path = run.out / f"{name}.npz"
        with atomic(path) as temporary:
            np.savez(temporary, **{key: np.asarray(value) for key, value in result._asdict().items()})  # type: ignore[arg-type]
        yield path


def _ratio(run: FigureInputs) -> Iterator[pathlib.Path]:
    yield run.save("ratio", ratio_map(run.model, run.samples, run.draws, run.points, run.seed))


def _table1(run: FigureInputs) -> Iterator[pathlib.Path]:
    rows, method = table1_fid.read_evaluation(run.workdir), naming.method_name(run.model.experiment)
    yield run.save("table1", table1_fid.table1_picture(rows, method))
    with atomic(run.out / "table1.md") as path:
        path.write_text(table1_fid.table1(rows, method))
    yield run.out / "table1.md"


# --- Requirements: each returns why a run does not have a figure, or "" if it has it. ---


def _images(run: FigureInputs) -> str:
    return "" if run.is_image else "it is of images, and this run's data are points"


def _points(run: FigureInputs) -> str:
    return "it is of points in the plane, and this run's data are images" if run.is_image else ""


def _flow(run: FigureInputs) -> str:
    """Flows are driven by a density ratio: a method without a ratio (a one-step generator) has no flow."""
    has_ratio = run.model.experiment.method.parameterisation is not None
    return "" if has_ratio else "this run's method trains no density ratio and has no flow"


def _flow_of_points(run: FigureInputs) -> str:
    return _points(run) or _flow(run)


def _flow_of_images(run: FigureInputs) -> str:
    return _images(run) or _flow(run)


def _interpolated_images(run: FigureInputs) -> str:
    return _flow_of_images(run) or (
        "" if isinstance(run.model.prior, Whitened) else "there is nothing between two images of the source domain"
    )


def _measured_fid(run: FigureInputs) -> str:
    if table1_fid.fids(table1_fid.read_evaluation(run.workdir)):
        return ""
    return f"no FID was measured yet: there is none in {run.workdir / EVALUATION_FILE}"


# Name -> (function that draws the figure, its requirement).
FIGURES: dict[str, tuple[Callable[[FigureInputs], Iterator[pathlib.Path]], Callable[[FigureInputs], str]]] = {
    "fig2": (_fig2, _flow_of_points),
    "fig3": (_fig3, _flow_of_points),
    "fig4": (_fig4, _images),
    "fig5": (_fig5, _flow),
    "fig8": (_fig8, _flow),
    "fig9": (_fig9, _interpolated_images),
    "fig10": (_fig10, _points),
    "fig11": (_fig11, _flow_of_images),
    "fig12": (_fig12, _images),
    "ratio": (_ratio, _flow_of_points),
    "table1": (_table1, _measured_fid),
}

# Figures of the paper that show what another one shows, for other data or settings.
_SAME_AS = {"fig7": "fig8", "fig13": "fig12"} | {f"fig{i}": "fig4" for i in range(14, 22)}


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
    """Draw figures of a run (`--mode=figures`): each as a PNG file, some with an animation or a file of numbers.

    Args:
      workdir: the run's directory.
      names: figures to draw, from `FIGURES`; by default all that the run can have.
      out: folder of the files, created if missing; WORKDIR/figures by default. Files of these names are replaced.
      seed: seed of all samples.
      num_samples: number of samples to measure in fig5 and fig12.
      batch_size: number of samples that are flowed at a time.
      spaces: feature spaces of fig12; pixels by default.
      progress: True to show progress bars.
      log: function that is called with one line for each file written and for each figure left out.

    Returns:
      Paths of the files written.

    Raises:
      InputError: there is no run in `workdir`; a name is unknown; a figure that `names` has cannot be drawn for this
        run; or the folder cannot be created.
    """
    chosen = list(FIGURES) if names is None else list(dict.fromkeys(_SAME_AS.get(name, name) for name in names))
    if not chosen:
        raise InputError(f"no figure is named: figures are {', '.join(FIGURES)}")
    for name in chosen:
        if name not in FIGURES:
            raise InputError(f"there is no figure {name!r}: figures are {', '.join(FIGURES)}")
    model = loading.load(workdir)
    out = pathlib.Path(workdir) / "figures" if out is None else pathlib.Path(out)
    run = FigureInputs(pathlib.Path(workdir), model, out, seed, num_samples, batch_size, spaces or [pixels()], progress)
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
            # If all figures were asked for, one that fails does not stop the others: the data may not be on this
            # machine any more.
            log(f"{name}: left out: {error}")
    return written
