"""Table 1 of arXiv 2303.03714: the paper's FIDs, and below them those measured for a user's run."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from fdrl_jax.evaluation.figures import layout
from fdrl_jax.experiment.workdir_files import EVALUATION_FILE
from fdrl_jax.types import InputError
from fdrl_jax.utils import plotting
from fdrl_jax.utils.plotting import Picture
from fdrl_jax.utils.untrusted_files import parse_json

# Group, method, FID on CIFAR-10, FID on CelebA; None where the paper has a dash.
PAPER: tuple[tuple[str, str, float | None, float | None], ...] = (
    ("EBM-based", "IGEBM", 40.58, None),
    ("EBM-based", "SR-EBM", 44.50, 23.02),
    ("EBM-based", "LEBM", 70.15, 37.87),
    ("EBM-based", "CoopNets", 33.61, None),
    ("EBM-based", "VAEBM", 12.19, 5.31),
    ("Diffusion-based", "NCSN", 25.32, 26.89),
    ("Diffusion-based", "DDPM", 3.17, None),
    ("GAN-based", "WGAN-GP", 55.80, 30.00),
    ("GAN-based", "SNGAN", 21.70, None),
    ("Gradient flow-based", "EPT", 24.60, None),
    ("Gradient flow-based", "JKO-Flow", 23.70, None),
    ("Gradient flow-based", "ℓ-SWF", 59.70, 38.30),
    ("The paper's", "FDRL-DDP (LSIF-χ²)", 22.28, 17.77),
    ("The paper's", "FDRL-DDP (LR-KL)", 22.61, 18.09),
    ("The paper's", "FDRL-DDP (LR-JS)", 22.80, None),
    ("The paper's", "FDRL-DDP (LR-logD)", 22.82, None),
    ("The paper's", "FDRL-UP (LSIF-χ²)", 30.23, None),
    ("The paper's", "FDRL-UP (LR-KL)", 31.99, None),
)

# Feature spaces whose Frechet distance is called FID, with the name of its protocol.
PROTOCOLS = {"inception": "standard FID", "inception-torchvision": "the paper's protocol"}

_PAPER_PROTOCOLS = {"The paper's": "the paper's protocol"}
# Start of a data set's name -> column of the paper.
_COLUMNS = {"cifar10": "CIFAR-10", "celeba": "CelebA"}
_MEASURED = "Measured here"


class _Row(NamedTuple):
    group: str
    method: str
    cells: dict[str, str]  # Column -> text.
    protocol: str


def read_evaluation(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Read WORKDIR/evaluation.jsonl, which holds one JSON object per line; return [] if it does not exist.

    A line that is not a JSON object is left out, and a message names it.
    """
    path = workdir / EVALUATION_FILE
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n") if path.exists() else [], 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            print(f"{path}, line {number}, is not a JSON object: left out")
    return rows


def fids(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the evaluation results that are FIDs: Frechet distances in the Inception features of `PROTOCOLS`.

    If results agree in features, data set, step, kind of parameters and number of samples, only the last is returned.
    """
    latest = {}
    for row in rows:
        if row.get("metric") == "frechet" and row.get("features") in PROTOCOLS:
            latest[tuple(str(row.get(name)) for name in ("features", "dataset", "step", "ema", "num_samples"))] = row
    return list(latest.values())


def table1(rows: Sequence[Mapping[str, Any]], method: str = "this run") -> str:
    """Return Table 1 in Markdown: the paper's rows, and one more row for each FID in `rows`.

    Args:
      rows: evaluation results with metric, features, value, interval [low, high], num_samples, step, ema and dataset.
        Results that are not FIDs are left out. A data set that the paper does not have gets its own column.
      method: name of the method of these rows, such as that of `naming.method_name`.

    Raises:
      InputError: the row of an FID lacks a key, or its value is not a number.
    """
    header, body = _table(rows, method)
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    group = ""
    for row in body:
        if row.group != group:
            group = row.group
            lines.append(f"| *{group}* |{'  |' * (len(header) - 1)}")
        lines.append(f"| {' | '.join(_cells(row, header))} |")
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Mapping[str, Any]], method: str) -> tuple[list[str], list[_Row]]:
    """Return the header, and the rows from top to bottom."""
    body = []
    for group, name, cifar10, celeba in PAPER:
        values = {"CIFAR-10": cifar10, "CelebA": celeba}
        cells = {column: f"{value:.2f}" for column, value in values.items() if value is not None}
        body.append(_Row(group, name, cells, _PAPER_PROTOCOLS.get(group, "as the paper quotes it")))
    columns = list(_COLUMNS.values())
    for row in fids(rows):
        column, cell, settings = _measured_cell(row)
        if column not in columns:
            columns.append(column)
        body.append(_Row(_MEASURED, f"{method}, {settings}", {column: cell}, PROTOCOLS[row["features"]]))
    return ["Method", *columns, "FID by"], body


def _cells(row: _Row, header: Sequence[str]) -> list[str]:
    return [row.method, *(row.cells.get(column, "-") for column in header[1:-1]), row.protocol]


def _measured_cell(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the column of a measured FID, the text of its cell, and the step and samples that it was measured with."""
    try:
        value, dataset = float(row["value"]), str(row["dataset"])
        low, high = map(float, row["interval"]) if row.get("interval") else (math.nan, math.nan)
        settings = f"step {int(row['step']):,}, {int(row['num_samples']):,} samples"
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"a FID in {EVALUATION_FILE} is incomplete ({error!r}): evaluate again") from None
    if row.get("ema") is False:
        settings += ", online parameters"
    interval = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    column = next((column for start, column in _COLUMNS.items() if dataset.lower().startswith(start)), dataset)
    return column, f"{value:.2f}{interval}", settings


def table1_picture(rows: Sequence[Mapping[str, Any]], method: str = "this run") -> Picture:
    """Draw Table 1 as a picture; the arguments and errors are those of `table1`."""
    header, body = _table(rows, method)
    # Cells of each line, and its kind: "group" for a heading, "measured" for a shaded row.
    lines: list[tuple[list[str], str]] = []
    group = ""
    for row in body:
        if row.group != group:
            group = row.group
            lines.append(([group], "group"))
        lines.append((_cells(row, header), "measured" if row.group == _MEASURED else ""))
    height, widths = 0.25, [max(3.2, 0.082 * max(len(r.method) for r in body)), *[1.7] * (len(header) - 2), 2.1]
    total = sum(widths)
    figure = Figure(figsize=(total, height * (len(lines) + 2)), dpi=100)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, total), ylim=(len(lines) + 1.5, -0.5))
    axis.axis("off")
    starts = [sum(widths[:i]) + 0.1 for i in range(len(widths))]
    for x, cell in zip(starts, header, strict=True):
        axis.text(x, 0.2, cell, fontsize=10, fontweight="bold", va="center")
    axis.plot([0, total], [0.7, 0.7], color="black", linewidth=1)
    for i, (cells, kind) in enumerate(lines):
        if kind == "measured":
            axis.axhspan(i + 0.8, i + 1.8, color="tab:orange", alpha=0.15, linewidth=0)
        for x, cell in zip(starts, cells, strict=False):
            style = "italic" if kind == "group" else "normal"
            indent = 0.15 if x == starts[0] and kind != "group" else 0
            axis.text(x + indent, i + 1.3, cell, fontsize=10, style=style, va="center")
    note = (
        "No FID of this run was measured yet."
        if not fids(rows)
        else "Shaded rows were measured here; the interval of the evaluation is in brackets."
    )
    return layout.framed(
        plotting.render(figure),
        "FID, lower is better (Table 1 of the paper)",
        f"{note} A standard FID and one by the paper's protocol (torchvision's Inception, another resize) are not the "
        "same number: compare only FIDs of one protocol. The paper's own are of 50,000 samples against the training "
        "images; fewer samples give a larger FID. The numbers of other methods are those that the paper quotes.",
    )
