"""The rows of one network: the times of fdrl_jax and of PyTorch, and the floors, for each part of training."""

import argparse
import functools
import math
import pathlib
import tempfile
import time
from typing import Any

import numpy as np

from benchmarks.common import cases
from benchmarks.speed import floors, timed_calls, timing
from benchmarks.speed.image_files import write_synthetic
from benchmarks.speed.pytorch import exchange
from benchmarks.speed.pytorch.process import TorchError, TorchProcess
from benchmarks.speed.table import BF16, DRAWS, figures

TIMED = ("flow step", "training step", "sampling")
ROWS = (*TIMED, "prior fit", "prior draw", "data pipeline", "checkpoint stall")


def rows_of(
    name: str, options: argparse.Namespace, load: cases.Load, torch: TorchProcess | None
) -> list[dict[str, Any]]:
    """Measure all rows of the network `name`, in the form that `table.figures` returns."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            *compute_rows(name, options, load, torch, pathlib.Path(folder)),
            *input_rows(name, options, load, torch, pathlib.Path(folder)),
        ]


def compute_rows(
    name: str, options: argparse.Namespace, load: cases.Load, torch: TorchProcess | None, folder: pathlib.Path
) -> list[dict[str, Any]]:
    """Measure flow step, training step, sampling, and the checkpoint of the trained state."""
    case = cases.case(name, load, small=options.smoke)
    with_bf16 = "bf16" in options.precision and case.experiment.is_image
    ours = {"ours": timed_calls.TimedCalls(case)}
    if with_bf16:
        ours["ours" + BF16] = timed_calls.TimedCalls(cases.case(name, load, "bf16", options.smoke))
    forms: list[str] = []
    differences: dict[str, float] = {}
    if torch is not None:
        torch.ask("case", **exchange.write_case(case, folder / "case.npz", options.compile))
        forms = ["authors", "strong", *(["strong" + BF16] if with_bf16 else [])]
        results = exchange.results(ours["ours"])
        for form in list(forms):
            try:
                torch.ask("compare", form=form, out=str(folder / "results.npz"))
            except TorchError as error:
                print(f"  {form}: {error}", flush=True)
                forms.remove(form)
                continue
            with np.load(folder / "results.npz") as file:
                differences[form] = exchange.largest_difference(results, dict(file), np.asarray(case.particles()))

    first = timing.seconds(ours["ours"].train_step)
    print(f"first training step of {name}, with its compilation: {first:.1f} s", flush=True)
    layers = floors.layers(case.model, case.event_shape)
    floor = {
        "flow step": floors.flow_step(layers, load.batch_size),
        "training step": floors.train_step(layers, load.batch_size, load.num_steps),
        "sampling": floors.sampling(layers, load.batch_size, load.num_steps),
        "checkpoint stall": floors.checkpoint(floors.parameters(layers)),
    }
    rows = []
    for row in TIMED:
        runs = {form: functools.partial(timing.seconds, calls.by_row()[row]) for form, calls in ours.items()}
        if torch is not None:
            runs |= {form: functools.partial(torch.seconds, form, row) for form in forms}
        times = timing.interleaved(runs, options.rounds)
        if row == "flow step":
            times = {form: [t / load.num_steps for t in values] for form, values in times.items()}
        rows.append(figures(name, row, load, times, floor[row], differences))
    times = {"ours": timed_calls.checkpoint_seconds(ours["ours"].state, options.rounds)}
    if torch is not None and "authors" in forms:
        times["authors"] = [torch.ask("checkpoint", form="authors")["seconds"] for _ in range(options.rounds + 1)][1:]
    rows.append(figures(name, "checkpoint stall", load, times, floor["checkpoint stall"], {}))
    return rows


def input_rows(
    name: str, options: argparse.Namespace, load: cases.Load, torch: TorchProcess | None, folder: pathlib.Path
) -> list[dict[str, Any]]:
    """Measure the prior and the data pipeline.

    The toy network has no rows for the prior, which is N(0, I), and its data pipeline draws points instead of reading
    images.
    """
    case = cases.case(name, load, small=options.smoke)
    values, images, path = math.prod(case.event_shape), None, folder / "images.npy"
    rows = []
    if case.experiment.is_image:
        write_synthetic(path, load.images, case.event_shape[0], case.event_shape[-1])
        images = np.load(path, mmap_mode="r")
        rows += prior_rows(name, options, load, torch, path, images)
    times = {"ours": [timed_calls.batch_seconds(case, images, options.data_seconds)]}
    if torch is not None and images is not None:
        answer = torch.ask("data", images=str(path), seconds=options.data_seconds, batch_size=load.batch_size)
        times["authors"] = [answer["seconds"]]
    event_bytes = values * (1 if images is not None else floors.FLOAT)
    rows.append(figures(name, "data pipeline", load, times, floors.data_batch(load.batch_size, event_bytes), {}))
    return rows


def prior_rows(
    name: str,
    options: argparse.Namespace,
    load: cases.Load,
    torch: TorchProcess | None,
    path: pathlib.Path,
    images: np.ndarray,
) -> list[dict[str, Any]]:
    """Measure the fit of the prior to `images`, which are stored in `path`, and draws from it.

    The sides are measured in turn, and a first round is not counted.
    """
    sides = {"ours": functools.partial(timed_calls.prior_times, images, load.rank, DRAWS)}
    if torch is not None and not load.rank:  # PyTorch has no Gaussian of low rank that is fitted to data.
        jitter = timed_calls.JITTER
        sides["authors"] = functools.partial(torch.ask, "prior", images=str(path), jitter=jitter, draws=DRAWS)
    results: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(options.rounds + 1):
        for side, run in sides.items():
            time.sleep(timing.REST)
            results[side].append(run())
    traces = {side: runs[0]["trace"] for side, runs in results.items()}
    difference = {side: abs(trace / traces["ours"] - 1) for side, trace in traces.items() if side != "ours"}
    values = math.prod(images.shape[1:])
    floor = {
        "fit": floors.prior_fit(load.images, values, load.rank),
        "draw": floors.prior_draw(DRAWS, values, load.rank),
    }
    times = {part: {side: [run[part] for run in runs[1:]] for side, runs in results.items()} for part in floor}
    return [figures(name, f"prior {part}", load, times[part], floor[part], difference) for part in floor]
