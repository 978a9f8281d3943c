"""Plots of a run's training metrics (metrics.jsonl) and diagnostics (diagnostics.jsonl)."""

from collections.abc import Sequence
from typing import TypeVar

from fdrl_jax.evaluation.report import svg_plots
from fdrl_jax.experiment import naming
from fdrl_jax.experiment.run_record import Record, Run

# Metrics whose plots have a logarithmic axis if their values allow it, and fields of metrics.jsonl without a plot.
LOGARITHMIC = ("grad_norm", "max_flow", "learning_rate")
NOT_PLOTTED = ("step", "seconds")

# Largest number of earlier steps whose flow is drawn, faintly, together with that of the latest step.
MAX_EARLIER = 5

T = TypeVar("T")


def spread(items: Sequence[T], most: int) -> list[T]:
    """Return at most `most` of the items, evenly chosen, with the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def panels(run: Run) -> dict[str, list[tuple[str, str]]]:
    """Return the plots of metrics.jsonl: name of the plot -> (label, field) of each line in it."""
    fields = list(dict.fromkeys(name for row in run.metrics for name in row if name not in NOT_PLOTTED))
    ratios = [(label, field) for field, label in naming.RATIO_LABELS.items() if field in fields]
    plots: dict[str, list[tuple[str, str]]] = {}
    for name in ("loss", "ratio", "grad_norm", "learning_rate", *fields):
        if name == "ratio" and ratios:
            plots[name] = ratios
        elif name in fields and name not in naming.RATIO_LABELS:
            plots[name] = [("", name)]
    return plots


def training_plots(run: Run) -> list[svg_plots.Plot]:
    """Draw loss, ratios, gradient norm, learning rate, and every other field of metrics.jsonl."""
    steps = [row["step"] for row in run.metrics]
    plots = []
    for i, (name, curves) in enumerate(panels(run).items()):
        lines = [
            svg_plots.Line(label, steps, [row.get(field) for row in run.metrics], series)
            for series, (label, field) in enumerate(curves)
        ]
        mark = 1.0 if name == "ratio" else None
        title = naming.metric_title(name)
        plots.append(svg_plots.lines(f"training-{i}", title, lines, log=name in LOGARITHMIC, mark=mark))
    return plots


def held_out_title(metric: str) -> str:
    """Return the title of the plot of a held-out metric."""
    return f"Held-out {metric.replace('_', ' ')}"


def diagnostic_plots(rows: list[Record]) -> list[svg_plots.Plot]:
    """Draw the held-out metrics by training step, the flow at several steps, and the latest histogram of the ratio.

    Args:
      rows: lines of diagnostics.jsonl.
    """
    plots = []
    names = list(dict.fromkeys(name for row in rows for name in row.get("metrics", {})))
    for i, name in enumerate(names):
        values = [row.get("metrics", {}).get(name) for row in rows]
        curve = svg_plots.Line("", [row["step"] for row in rows], values)
        plots.append(svg_plots.lines(f"held-out-{i}", held_out_title(name), [curve]))
    flows = [row for row in rows if "flow" in row]
    for name, title, note in (
        (
            "kl",
            "KL along the flow",
            "Mean of log r over the particles, in nats. It estimates the divergence at the end of the flow, where r "
            "was trained.",
        ),
        ("displacement", "Distance moved in each flow step", "Mean Euclidean distance, in the units of the data."),
    ):
        chosen = spread([row for row in flows if name in row["flow"]], MAX_EARLIER + 1)
        if chosen:
            plots.append(_flow_plot(name, title, note, chosen))
    for row in [row for row in rows if "histogram" in row][-1:]:
        histogram = row["histogram"]
        counts = {name: histogram.get(name, []) for name in ("data", "flowed", "prior")}
        title = f"Density ratio at step {row['step']:,}"
        note = "Left of 0: likelier under the data than under the samples."
        plots.append(svg_plots.histogram("ratio", title, histogram["edges"], counts, "log₁₀ r", note))
    return plots


def _flow_plot(name: str, title: str, note: str, rows: list[Record]) -> svg_plots.Plot:
    """Draw a quantity along the flow at several training steps; earlier ones are fainter, the ends have labels."""
    curves = []
    for i, row in enumerate(rows, 1):
        # Nothing has moved before the first flow step.
        start = 1 if name == "displacement" else 0
        x, y = row["flow"]["steps"][start:], row["flow"][name][start:]
        last = i == len(rows)
        label = f"step {row['step']:,}" if last or i == 1 else ""
        curves.append(svg_plots.Line(label, x, y, opacity=1.0 if last else 0.25 + 0.4 * i / len(rows)))
    mark = 0.0 if name == "kl" else None
    return svg_plots.lines(f"flow-{name}", title, curves, x_label="flow step", mark=mark, note=note)
