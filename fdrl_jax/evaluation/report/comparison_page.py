"""`compare.html`: a page that shows several runs side by side."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from fdrl_jax.evaluation.report import html_page, svg_plots, text_formats
from fdrl_jax.evaluation.report.embedded_images import Embedded, embed
from fdrl_jax.evaluation.report.run_summary import (
    best_checkpoint,
    commands,
    reference,
    source_of_samples,
    speed,
    summary,
)
from fdrl_jax.evaluation.report.training_plots import LOGARITHMIC, held_out_title, panels
from fdrl_jax.experiment import naming
from fdrl_jax.experiment.run_record import Record, Run, read_run
from fdrl_jax.types import InputError

# Fields of evaluation.jsonl that must be equal for two values to be comparable, with their names on the page.
_COMPARABLE = {
    "protocol": "protocol",
    "num_samples": "number of samples",
    "num_reference": "number of reference images",
    "reference": "reference",
    "samples": "the source of the samples",
}
_COUNTS = {"num_samples": "samples", "num_reference": "reference images"}


def write_comparison(workdirs: Sequence[str | pathlib.Path], out: str | pathlib.Path = "compare.html") -> pathlib.Path:
    """Write a comparison of runs: one HTML file that needs no network and has no script.

    Args:
      workdirs: directories of two or more runs, in the order of the columns.
      out: the file to write.

    Returns:
      Path of the file.

    Raises:
      InputError: there are fewer than two directories, or one is repeated, holds no run, or has a damaged file.
    """
    paths = [pathlib.Path(workdir) for workdir in workdirs]
    if len(paths) < 2:
        present = f"only one workdir, {paths[0]}," if paths else "no workdir"
        raise InputError(f"there is {present} to compare: give two or more, such as runs/a runs/b")
    for i, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:i]]:
            raise InputError(f"{path} is given twice: compare different runs")
    runs = _with_different_names([read_run(path) for path in paths])
    fields = [text_formats.flat(run.config) for run in runs]
    samples, samples_note = _samples(runs)
    html_page.write_page(
        "comparison.html",
        pathlib.Path(out),
        runs=runs,
        overview=_overview(runs),
        rows=metric_rows(runs),
        samples=samples,
        samples_note=samples_note,
        training=_training(runs),
        held_out=_held_out(runs),
        references=list(
            dict.fromkeys(row["reference"] for run in runs for row in run.diagnostics if row.get("reference"))
        ),
        differences=differences(fields),
        field_count=len({name for each in fields for name in each}),
        commands=commands("WORKDIR"),
    )
    return pathlib.Path(out)


def _with_different_names(runs: list[Run]) -> list[Run]:
    """Name runs by their paths if their folders have the same name."""
    names = [run.name for run in runs]
    return [dataclasses.replace(r, name=str(r.workdir)) if names.count(r.name) > 1 else r for r in runs]


def differences(fields: list[dict[str, str]]) -> dict[str, list[str | None]]:
    """Return the fields that are not equal in all runs, with their value in each run; None if a run lacks the field.

    Args:
      fields: the config of each run, from `text_formats.flat`.
    """
    names = dict.fromkeys(name for each in fields for name in each)
    rows = {name: [each.get(name) for each in fields] for name in names}
    return {name: row for name, row in rows.items() if len(set(row)) > 1}


def _overview(runs: list[Run]) -> dict[str, list[str]]:
    return {
        "experiment": [summary(run) for run in runs],
        "workdir": [str(run.workdir) for run in runs],
        "checkpoints": [", ".join(f"{step:,}" for step in run.checkpoints) or "none" for run in runs],
        "best checkpoint": [best_checkpoint(run) for run in runs],
        "speed": [speed(run) for run in runs],
    }


def metric_rows(runs: list[Run]) -> list[dict[str, Any]]:
    """Return the table of metrics, with one cell per run.

    All values of a row have the same metric, features, protocol, counts, reference and source of samples. A cell shows
    the results of the run's last step that was evaluated; of repeated results, the last one.
    """
    keys: dict[tuple[Any, ...], None] = {}
    for run in runs:
        keys |= dict.fromkeys(_key(record) for record in run.evaluations)
    # Rows of the same metric and features are neighbours; otherwise the rows have the order of the results.
    metrics = list(dict.fromkeys(key[:2] for key in keys))
    rows = []
    for key in sorted(keys, key=lambda key: metrics.index(key[:2])):
        records = [[record for record in run.evaluations if _key(record) == key] for run in runs]
        first = next(record for of_run in records for record in of_run)
        others = [other for other in keys if other[:2] == key[:2] and other != key]
        differing = [
            name for i, name in enumerate(_COMPARABLE.values(), 2) if any(other[i] != key[i] for other in others)
        ]
        counts = [f"{first[field]:,} {name}" for field, name in _COUNTS.items() if first.get(field)]
        about = (
            text_formats.better(first["metric"]),
            first.get("protocol", ""),
            " and ".join(counts),
            reference(first),
            source_of_samples(first),
        )
        rows.append(
            {
                "name": text_formats.metric_name(first),
                "about": text_formats.sentences(*about),
                "cells": [_cell(of_run) for of_run in records],
                "differs": " and ".join(differing),
                "others": len(others),
            }
        )
    return rows


def _key(record: Record) -> tuple[Any, ...]:
    """Return all that two results must share to be in the same row."""
    return (record["metric"], record.get("features"), *(record.get(field) for field in _COMPARABLE))


def _cell(records: list[Record]) -> list[dict[str, Any]]:
    """Return the entries of a cell: one for each kind of weights, seed and number of flow steps at the last step."""
    last_step = max([record.get("step", 0) for record in records], default=0)
    latest = {}
    for record in records:
        if record.get("step", 0) == last_step:
            latest[tuple(record.get(field) for field in ("ema", "seed", "flow_steps"))] = record
    entries = []
    for record in latest.values():
        value, interval = text_formats.estimate(record)
        level = text_formats.confidence(record)
        about = [
            f"step {record['step']:,}" if "step" in record else "",
            {True: "EMA", False: "online weights", None: ""}[record.get("ema")],
            f"seed {record['seed']}" if "seed" in record else "",
            f"{record['flow_steps']} flow steps" if "flow_steps" in record else "",
            f"{level} interval" if interval and level else "",
        ]
        entries.append(
            {
                "value": value,
                "interval": interval,
                "about": ", ".join(filter(None, about)),
                "warnings": record.get("warnings", []),
            }
        )
    return entries


def _samples(runs: list[Run]) -> tuple[list[tuple[str, int, Embedded]], str]:
    """Return a picture of samples for each run, and sentences on the choice of their steps and on their seeds.

    The pictures are of the last step of which all runs have one; if there is none, of each run's last step.
    """
    shown = [run for run in runs if run.samples]
    if not shown:
        return [], ""
    common = set.intersection(*(set(run.samples) for run in shown))
    steps = [max(common) if common else max(run.samples) for run in shown]
    if common:
        note = f"At step {steps[0]:,}, the last step of which all runs have samples."
    else:
        note = "At the last step of each run, because no step has samples of all runs."
    seeds = {run.name: run.config.get("seed") for run in shown}
    if len(set(map(str, seeds.values()))) == 1:
        note += (
            f" All are of seed {next(iter(seeds.values()))}: samples in the same place started from the same random "
            "numbers."
        )
    else:
        note += " The seeds differ: " + ", ".join(f"{name} {seed}" for name, seed in seeds.items()) + "."
    without = [run.name for run in runs if not run.samples]
    if without:
        note += f" No samples yet: {', '.join(without)}."
    return [(run.name, step, embed(run.samples[step])) for run, step in zip(shown, steps, strict=True)], note


def _training(runs: list[Run]) -> list[svg_plots.Plot]:
    """Draw one plot for each field of metrics.jsonl, with a line for each run that logged it."""
    fields = dict.fromkeys(field for run in runs for curves in panels(run).values() for _, field in curves)
    plots = []
    for i, field in enumerate(fields):
        lines = [
            svg_plots.Line(run.name, [row["step"] for row in run.metrics], [row.get(field) for row in run.metrics], j)
            for j, run in enumerate(runs)
            if any(field in row for row in run.metrics)
        ]
        note = _note_on_single(lines)
        if field == "loss" and len({naming.loss_of_config(run.config) for run in runs}) > 1:
            note = "The runs minimise different losses: their values cannot be compared."
        title, mark = naming.metric_title(field), 1.0 if field.startswith("ratio_") else None
        plots.append(svg_plots.lines(f"training-{i}", title, lines, log=field in LOGARITHMIC, mark=mark, note=note))
    return plots


def _held_out(runs: list[Run]) -> list[svg_plots.Plot]:
    """Draw one plot for each held-out metric of diagnostics.jsonl, with a line for each run that has it."""
    names = dict.fromkeys(name for run in runs for row in run.diagnostics for name in row.get("metrics", {}))
    plots = []
    for i, name in enumerate(names):
        lines = []
        for j, run in enumerate(runs):
            rows = [row for row in run.diagnostics if name in row.get("metrics", {})]
            if rows:
                steps, values = [row["step"] for row in rows], [row["metrics"][name] for row in rows]
                lines.append(svg_plots.Line(run.name, steps, values, j))
        plots.append(svg_plots.lines(f"held-out-{i}", held_out_title(name), lines, note=_note_on_single(lines)))
    return plots


def _note_on_single(lines: Sequence[svg_plots.Line]) -> str:
    # A plot of a single line has no legend.
    return f"Only {lines[0].label} has it." if len(lines) == 1 else ""
