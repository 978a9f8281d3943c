"""One table of what training and sampling take, beside PyTorch and beside the least that the machine allows.

    python -m benchmarks [--networks=toy,digits,cifar10,celeba64,lsun128] [--rounds=N] [--out=FILE.json]
                         [--torch_python=PYTHON] [--no-compile] [--precision=float32,bf16] [--smoke]

Rows for each network: flow step (of a scan of K), training step, sampling, prior fit and draw, data pipeline (a batch),
checkpoint stall. Beside ours, in a process of its own with --torch_python (`make bench` makes that environment):
`authors`, PyTorch as the authors use it, and `strong`, as fast as we could make it (`torch_forms.py`). Same weights and
inputs; results without noise are compared first and the largest relative difference is printed. Then medians of runs in
turn; a ratio above 1 says how many times as long PyTorch took. `floor` is the time of the FLOPs and bytes that are
needed (`floors.py`) at rates measured at the start, `x floor` our time over it. Without PyTorch our rows alone are
printed.

A machine with other work on it flatters us, and two cores that are far apart slow the toy network down
(`python -m benchmarks.cores`): load and round trip are printed with each network. `--smoke` runs all of it in
miniature.
"""

import argparse
import dataclasses
import functools
import json
import math
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks import arguments, cases, floors, ours
from benchmarks.cores import round_trip
from benchmarks.environment import describe
from benchmarks.prior import write_synthetic
from benchmarks.rates import byte_rate, flops_rate
from benchmarks.table import BF16, DRAWS, HEADER, add_floors, figures, line
from benchmarks.torch_process import TorchError, TorchProcess, has_torch

TIMED = ("flow step", "training step", "sampling")
# When a side is done, its threads go on spinning for some milliseconds, on the other's cores: so there are REST
# seconds before each run. After a rest threads must be woken, and caches are cold: so a short run is done twice, and
# the second counts.
REST, SHORT = 0.1, 0.5
ROWS = (*TIMED, "prior fit", "prior draw", "data pipeline", "checkpoint stall")


def rows_of(
    name: str, options: argparse.Namespace, load: cases.Load, torch: TorchProcess | None
) -> list[dict[str, Any]]:
    """All rows of one network."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            *compute_rows(name, options, load, torch, pathlib.Path(folder)),
            *input_rows(name, options, load, torch, pathlib.Path(folder)),
        ]


def compute_rows(
    name: str, options: argparse.Namespace, load: cases.Load, torch: TorchProcess | None, folder: pathlib.Path
) -> list[dict[str, Any]]:
    """Flow, training, sampling, and the checkpoint of what was trained."""
    case = cases.case(name, load, small=options.smoke)
    halves = "bf16" in options.precision and case.experiment.is_image
    sides = {"ours": ours.Ours(case)}
    if halves:
        sides["ours" + BF16] = ours.Ours(cases.case(name, load, "bf16", options.smoke))
    forms: list[str] = []
    differences: dict[str, float] = {}
    if torch is not None:
        torch.ask("case", **ours.write_torch_case(case, folder / "case.npz", options.compile))
        forms = ["authors", "strong", *(["strong" + BF16] if halves else [])]
        results = sides["ours"].results()
        for form in list(forms):
            try:
                torch.ask("compare", form=form, out=str(folder / "results.npz"))
            except TorchError as error:
                print(f"  {form}: {error}", flush=True)
                forms.remove(form)
                continue
            with np.load(folder / "results.npz") as file:
                differences[form] = ours.largest_difference(results, dict(file), np.asarray(case.particles()))

    first = ours.seconds(sides["ours"].train_step)
    print(f"first training step of {name}, with its compilation: {first:.1f} s", flush=True)
    table = floors.layers(case.model, case.event_shape)
    floor = {
        "flow step": floors.flow_step(table, load.batch_size),
        "training step": floors.train_step(table, load.batch_size, load.num_steps),
        "sampling": floors.sampling(table, load.batch_size, load.num_steps),
        "checkpoint stall": floors.checkpoint(floors.parameters(table)),
    }
    rows = []
    for row in TIMED:
        runs = {side: functools.partial(ours.seconds, made.runs()[row]) for side, made in sides.items()}
        if torch is not None:
            runs |= {form: functools.partial(torch.seconds, form, row) for form in forms}
        times = interleaved(runs, options.rounds)
        if row == "flow step":
            times = {form: [t / load.num_steps for t in values] for form, values in times.items()}
        rows.append(figures(name, row, load, times, floor[row], differences))
    times = {"ours": ours.checkpoint_seconds(sides["ours"], options.rounds)}
    if torch is not None and "authors" in forms:
        times["authors"] = [torch.ask("checkpoint", form="authors")["seconds"] for _ in range(options.rounds + 1)][1:]
    rows.append(figures(name, "checkpoint stall", load, times, floor["checkpoint stall"], {}))
    return rows


def input_rows(
    name: str, options: argparse.Namespace, load: cases.Load, torch: TorchProcess | None, folder: pathlib.Path
) -> list[dict[str, Any]]:
    """The prior and the data pipeline. The toy's prior is N(0, I) and its data are drawn."""
    case = cases.case(name, load, small=options.smoke)
    values, images, path = math.prod(case.event_shape), None, folder / "images.npy"
    rows = []
    if case.experiment.is_image:
        write_images(path, case, load.images)
        images = np.load(path, mmap_mode="r")
        rows += prior_rows(name, options, load, torch, path, images)
    taken = {"ours": [ours.batch_seconds(case, images, options.data_seconds)]}
    if torch is not None and images is not None:
        answer = torch.ask("data", images=str(path), seconds=options.data_seconds, batch_size=load.batch_size)
        taken["authors"] = [answer["seconds"]]
    size = values * (1 if images is not None else floors.FLOAT)
    rows.append(figures(name, "data pipeline", load, taken, floors.data_batch(load.batch_size, size), {}))
    return rows


def prior_rows(
    name: str,
    options: argparse.Namespace,
    load: cases.Load,
    torch: TorchProcess | None,
    path: pathlib.Path,
    images: np.ndarray,
) -> list[dict[str, Any]]:
    """The fit to `images`, which are in `path`, and draws; in turn, and the first round is left out."""
    sides = {"ours": functools.partial(ours.prior_times, images, load.rank, DRAWS)}
    if torch is not None and not load.rank:  # PyTorch has no Gaussian of low rank that is fitted to data.
        sides["authors"] = functools.partial(torch.ask, "prior", images=str(path), jitter=ours.JITTER, draws=DRAWS)
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(options.rounds + 1):
        for side, run in sides.items():
            time.sleep(REST)
            found[side].append(run())
    traces = {side: runs[0]["trace"] for side, runs in found.items()}
    difference = {side: abs(trace / traces["ours"] - 1) for side, trace in traces.items() if side != "ours"}
    values = math.prod(images.shape[1:])
    least = {
        "fit": floors.prior_fit(load.images, values, load.rank),
        "draw": floors.prior_draw(DRAWS, values, load.rank),
    }
    times = {what: {side: [run[what] for run in runs[1:]] for side, runs in found.items()} for what in least}
    return [figures(name, f"prior {what}", load, times[what], least[what], difference) for what in least]


def write_images(path: pathlib.Path, case: cases.Case, count: int) -> None:
    """uint8 images of the case's shape in a .npy; smooth, as photographs are."""
    size, _, channels = case.event_shape
    write_synthetic(path, count, size)
    if channels != 3:
        images = np.load(path)[..., :channels]
        np.save(path, images)


def interleaved(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, in turn; a first round, which compiles and warms up, is left out."""
    times: dict[str, list[float]] = {form: [] for form in runs}
    for round_ in range(rounds + 1):
        for form, run in runs.items():
            time.sleep(REST)
            elapsed = run()
            if elapsed < SHORT:
                elapsed = run()
            if round_:
                times[form].append(elapsed)
    return times


def loads(options: argparse.Namespace) -> dict[str, cases.Load]:
    if options.smoke:
        return cases.SMOKE
    return cases.CPU if jax.default_backend() == "cpu" else cases.ACCELERATOR


def parsed(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", type=arguments.names(cases.CONFIGS), default=",".join(cases.CONFIGS), help="which, by commas"
    )
    parser.add_argument("--rounds", type=arguments.count, help="5 by default, 1 with --smoke")
    parser.add_argument(
        "--data_seconds", type=arguments.positive, help="that the data pipeline is watched for; 2, or 0.1"
    )
    parser.add_argument(
        "--batch_size", type=arguments.count, help="of every network, instead of what suits the machine"
    )
    parser.add_argument("--num_steps", type=arguments.count, help="K of every network, likewise")
    parser.add_argument(
        "--precision", type=arguments.names(("float32", "bf16")), default="float32,bf16", help="of image networks"
    )
    parser.add_argument(
        "--torch_python",
        type=arguments.python,
        default=sys.executable,
        help="a Python that has PyTorch; none: without it",
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="torch.compile")
    parser.add_argument("--smoke", action="store_true", help="tiny networks and loads: does it run?")
    parser.add_argument("--out", type=arguments.new_file, help="write the figures here, as JSON")
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (1 if options.smoke else 5)
    options.data_seconds = options.data_seconds or (0.1 if options.smoke else 2.0)
    return options


def measure(options: argparse.Namespace, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Print the table and return what the JSON holds; no further network is begun when `stop` says so."""
    print(describe())
    rates = {
        "float32_flops": flops_rate("float32", options.smoke),
        "bf16_flops": flops_rate("bfloat16", options.smoke),
        "bytes": byte_rate(options.smoke),
    }
    print(
        f"rates measured: matrix product {rates['float32_flops'] / 1e9:,.0f} GFLOP/s in float32, "
        f"{rates['bf16_flops'] / 1e9:,.0f} in bfloat16; memory {rates['bytes'] / 1e9:,.1f} GB/s"
    )
    found: dict[str, Any] = {"environment": describe(), "rates": rates, "torch": None, "rows": []}
    found |= {"load": {}, "round_trip_us": {}}
    torch = None
    if options.torch_python != "none" and has_torch(options.torch_python):
        torch = TorchProcess(options.torch_python)
        found["torch"] = torch.ask("about")
        print("PyTorch {torch}, {threads} threads, {device}".format(**found["torch"]))
    else:
        print(f"PyTorch is not installed in {options.torch_python}: our rows alone. `make bench` installs it")
    try:
        for name in options.networks:
            if stop():
                print(f"{name}: left out, the time is over")
                continue
            changes = {k: getattr(options, k) for k in ("batch_size", "num_steps") if getattr(options, k)}
            load = dataclasses.replace(loads(options)[name], **changes)
            found["load"][name], found["round_trip_us"][name] = os.getloadavg()[0], round_trip()
            trip = found["round_trip_us"][name] or math.nan
            machine = f"load average {found['load'][name]:.1f}, round trip between cores {trip:.2f} us"
            print(f"{machine}; K = {load.num_steps}\n{HEADER}", flush=True)
            rows = rows_of(name, options, load, torch)
            add_floors(rows, rates)
            found["rows"] += rows
            print("\n".join(map(line, rows)), flush=True)
    finally:
        if torch is not None:
            torch.__exit__()
    return found


def main(argv: list[str] | None = None) -> None:
    options = parsed(argv)
    found = measure(options)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
