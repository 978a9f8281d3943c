"""`compare.html`: runs side by side."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from fdrl_jax.report import plots, render
from fdrl_jax.report.images import Embedded, embed
from fdrl_jax.report.page import HINTS, LOGARITHMIC, TITLES, best_checkpoint, panels, rate, samples_of, summary
from fdrl_jax.report.run import Record, Run, read_run
from fdrl_jax.types import InputError

# What must be the same for two values to be comparable: field of evaluation.jsonl -> its name for a reader.
_SAME = {
    "protocol": "protocol",
    "num_samples": "number of samples",
    "num_reference": "number of reference images",
    "reference": "reference",
    "samples": "the source of the samples",
}


def write_comparison(workdirs: Sequence[str | pathlib.Path], out: str | pathlib.Path = "compare.html") -> pathlib.Path:
    """Write runs side by side: one HTML file that needs no network and runs no script.

    Args:
      workdirs: two runs or more, in the order of the columns.
      out: the file.

    Returns:
      The file.

    Raises:
      InputError: there are fewer than two, one is given twice, holds no run, or has a damaged file.
    """
    paths = [pathlib.Path(workdir) for workdir in workdirs]
    if len(paths) < 2:
        found = f"only one workdir, {paths[0]}," if paths else "no workdir"
        raise InputError(f"there is {found} to compare: give two or more, such as runs/a runs/b")
    for i, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:i]]:
            raise InputError(f"{path} is given twice: compare different runs")
    runs = _named([read_run(path) for path in paths])
    fields = [render.flat(run.config) for run in runs]
    samples, note = _samples(runs)
    render.write(
        "compare.html",
        pathlib.Path(out),
        runs=runs,
        overview=_overview(runs),
        rows=metric_rows(runs),
        samples=samples,
        samples_note=note,
        training=_training(runs),
        held_out=_held_out(runs),
        references=list(
            dict.fromkeys(row["reference"] for run in runs for row in run.diagnostics if row.get("reference"))
        ),
        differences=differences(fields),
        field_count=len({name for each in fields for name in each}),
        hints={name: hint.format(workdir="WORKDIR") for name, hint in HINTS.items()},
    )
    return pathlib.Path(out)


def _named(runs: list[Run]) -> list[Run]:
    """Runs of one folder name are called by their paths."""
    names = [run.name for run in runs]
    return [dataclasses.replace(r, name=str(r.workdir)) if names.count(r.name) > 1 else r for r in runs]


def differences(fields: list[dict[str, str]]) -> dict[str, list[str | None]]:
    """Of each field that is not the same everywhere its value in each run, None where a run has no such field."""
    names = dict.fromkeys(name for each in fields for name in each)
    rows = {name: [each.get(name) for each in fields] for name in names}
    return {name: row for name, row in rows.items() if len(set(row)) > 1}


def _overview(runs: list[Run]) -> dict[str, list[str]]:
    best = [best_checkpoint(run) for run in runs]
    return {
        "experiment": [summary(run) for run in runs],
        "workdir": [str(run.workdir) for run in runs],
        "checkpoints": [", ".join(f"{step:,}" for step in run.checkpoints) or "none" for run in runs],
        "best checkpoint": best,
        "speed": [rate(run) for run in runs],
    }


def metric_rows(runs: list[Run]) -> list[dict[str, Any]]:
    """The metrics table: a row for each metric, features and protocol, counts and reference; a column a run.

    Of a run's lines for one row those of its last step are shown, and of equal ones the last.
    """
    keys: dict[tuple[Any, ...], None] = {}
    for run in runs:
        keys |= dict.fromkeys(_key(record) for record in run.evaluations)
    # Rows of one metric together, in the order in which the metrics are met.
    metrics = list(dict.fromkeys(key[:2] for key in keys))
    rows = []
    for key in sorted(keys, key=lambda key: metrics.index(key[:2])):
        lines = [[record for record in run.evaluations if _key(record) == key] for run in runs]
        first = next(record for line in lines for record in line)
        others = [other for other in keys if other[:2] == key[:2] and other != key]
        differing = [name for i, name in enumerate(_SAME.values(), 2) if any(other[i] != key[i] for other in others)]
        counts = [f"{first[name]:,} {what}" for name, what in _COUNTS.items() if first.get(name)]
        reference = f"Reference: {first['reference']}" if first.get("reference") else ""
        about = (
            render.better(first["metric"]),
            first.get("protocol", ""),
            " and ".join(counts),
            reference,
            samples_of(first),
        )
        rows.append(
            {
                "name": render.metric_name(first),
                "about": render.sentences(*about),
                "cells": [_cell(line) for line in lines],
                "differs": " and ".join(differing),
                "others": len(others),
            }
        )
    return rows


_COUNTS = {"num_samples": "samples", "num_reference": "reference images"}


def _key(record: Record) -> tuple[Any, ...]:
    return (record["metric"], record.get("features"), *(record.get(name) for name in _SAME))


def _cell(records: list[Record]) -> list[dict[str, Any]]:
    last = max([record.get("step", 0) for record in records], default=0)
    latest = {}
    for record in records:
        if record.get("step", 0) == last:
            latest[tuple(record.get(name) for name in ("ema", "seed", "flow_steps"))] = record
    entries = []
    for record in latest.values():
        value, interval = render.estimate(record)
        weights = {True: "EMA", False: "online weights", None: ""}[record.get("ema")]
        about = [f"step {record['step']:,}" if "step" in record else "", weights]
        about += [f"seed {record['seed']}" if "seed" in record else ""]
        about += [f"{record['flow_steps']} flow steps" if "flow_steps" in record else ""]
        about += [f"{render.confidence(record)} interval" if interval and render.confidence(record) else ""]
        about = [part for part in about if part]
        entries.append(
            {"value": value, "interval": interval, "about": ", ".join(about), "warnings": record.get("warnings", [])}
        )
    return entries


def _samples(runs: list[Run]) -> tuple[list[tuple[str, int, Embedded]], str]:
    """Each run's picture at the last step that all have one of, else its last; and a sentence on what was chosen."""
    shown = [run for run in runs if run.samples]
    if not shown:
        return [], ""
    common = set.intersection(*(set(run.samples) for run in shown))
    steps = [max(common) if common else max(run.samples) for run in shown]
    note = (
        f"At step {steps[0]:,}, the last that all have." if common else "At the last step of each: no step is common."
    )
    seeds = {run.name: run.config.get("seed") for run in shown}
    if len(set(map(str, seeds.values()))) == 1:
        note += (
            f" All from seed {next(iter(seeds.values()))}: pictures in one place began from the same random numbers."
        )
    else:
        note += " The seeds differ: " + ", ".join(f"{name} {seed}" for name, seed in seeds.items()) + "."
    without = [run.name for run in runs if not run.samples]
    if without:
        note += f" No samples yet: {', '.join(without)}."
    return [(run.name, step, embed(run.samples[step])) for run, step in zip(shown, steps, strict=True)], note


def _training(runs: list[Run]) -> list[plots.Plot]:
    """A panel for each field of metrics.jsonl, with a line a run that has it."""
    fields = dict.fromkeys(field for run in runs for curves in panels(run).values() for _, field in curves)
    shown = []
    for i, field in enumerate(fields):
        lines = [
            plots.Line(run.name, [row["step"] for row in run.metrics], [row.get(field) for row in run.metrics], series)
            for series, run in enumerate(runs)
            if any(field in row for row in run.metrics)
        ]
        title = TITLES.get(field, field.replace("_", " "))
        mark = 1.0 if field.startswith("ratio_") else None
        note = f"Only {lines[0].label} has it." if len(lines) == 1 else ""
        if field == "loss" and len({str(run.config.get("loss")) for run in runs}) > 1:
            note = "The runs minimise different losses: their values cannot be compared."
        shown.append(plots.lines(f"training-{i}", title, lines, log=field in LOGARITHMIC, mark=mark, note=note))
    return shown


def _held_out(runs: list[Run]) -> list[plots.Plot]:
    names = dict.fromkeys(name for run in runs for row in run.diagnostics for name in row.get("metrics", {}))
    shown = []
    for i, name in enumerate(names):
        lines = []
        for series, run in enumerate(runs):
            rows = [row for row in run.diagnostics if name in row.get("metrics", {})]
            if rows:
                steps, values = [row["step"] for row in rows], [row["metrics"][name] for row in rows]
                lines.append(plots.Line(run.name, steps, values, series))
        note = f"Only {lines[0].label} has it." if len(lines) == 1 else ""
        shown.append(plots.lines(f"held-out-{i}", f"Held-out {name.replace('_', ' ')}", lines, note=note))
    return shown
