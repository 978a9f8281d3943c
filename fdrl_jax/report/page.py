"""`report.html`: all that a workdir tells about its run."""

import datetime
import pathlib
import re
import shlex
from collections.abc import Sequence
from typing import Any, TypeVar

from fdrl_jax.checkpoint import CONFIG_FILE
from fdrl_jax.report import plots, render
from fdrl_jax.report.images import Embedded, embed
from fdrl_jax.report.run import BEST, Record, Run, read_run

MAX_SAMPLES = 6
MAX_EARLIER = 5

# What metrics.jsonl has of every run, and how it is shown; numbers it has besides get a panel each.
TITLES = {
    "loss": "Loss",
    "ratio": "Density ratio r, mean over a batch",
    "ratio_data": "r on data",
    "ratio_flow": "r on flowed samples",
    "grad_norm": "Gradient norm",
    "max_flow": "Largest |x| of flowed samples",
    "learning_rate": "Learning rate",
}
LOGARITHMIC = ("grad_norm", "max_flow", "learning_rate")
NOT_PLOTTED = ("step", "seconds")

# How to get what a run has not got. Words between braces are filled in.
HINTS = {
    "metrics": "python main.py --config=configs/NAME.py --workdir={workdir}",
    "samples": "python main.py --config=configs/NAME.py --workdir={workdir}",
    "checkpoints": "python main.py --config=configs/NAME.py --workdir={workdir}",
    "diagnostics": "python main.py --config=configs/NAME.py --workdir={workdir}",
    "evaluations": "python main.py --mode=evaluate --workdir={workdir}",
    "figures": "python main.py --mode=figures --workdir={workdir}",
}

T = TypeVar("T")


def write_report(workdir: str | pathlib.Path, out: str | pathlib.Path | None = None) -> pathlib.Path:
    """Write a run's report: one HTML file that needs no network and runs no script.

    Args:
      workdir: of the run; what is read there: `run`.
      out: the file; WORKDIR/report.html by default.

    Returns:
      The file.

    Raises:
      InputError: there is no run in `workdir`, or one of its files is damaged; a damaged line is only left out.
    """
    run = read_run(workdir)
    out = run.workdir / "report.html" if out is None else pathlib.Path(out)
    render.write(
        "report.html",
        out,
        run=run,
        summary=summary(run),
        headline=headline(run),
        groups=groups(run.config),
        training=training_plots(run),
        diagnostics=diagnostic_plots(run.diagnostics),
        diagnosed=[row.get("reference", "") for row in run.diagnostics][-1:],
        samples=[(step, embed(path)) for step, path in spread(list(run.samples.items()), MAX_SAMPLES)],
        figures=[_figure(path) for path in run.figures],
        evaluations=[evaluation(record) for record in run.evaluations],
        hints={name: hint.format(workdir=shlex.quote(str(run.workdir))) for name, hint in HINTS.items()},
        facts=facts(run),
    )
    return out


def summary(run: Run) -> str:
    """One line: data, pairing, prior, how far it is trained."""
    config = run.config
    data, path = _field(config, "data", "name"), pathlib.PurePath(_field(config, "data", "path")).name
    parts = [
        f"{data} ({path})" if path else data,
        " / ".join(str(config[k]) for k in ("loss", "divergence") if k in config),
    ]
    parts += [f"{prior} prior" if (prior := _field(config, "prior", "name")) else ""]
    total = config.get("train", {}).get("num_steps") if isinstance(config.get("train"), dict) else None
    parts += [f"step {run.step():,}" + (f" of {total:,}" if isinstance(total, int) else "")]
    return " · ".join(filter(None, parts))


def _field(config: Record, group: str, name: str) -> str:
    fields = config.get(group)
    return str(fields.get(name, "")) if isinstance(fields, dict) else ""


def _figure(path: pathlib.Path) -> tuple[str, Embedded]:
    """A figure and its caption: "Fig. 12 pixels" of fig12_pixels.png."""
    image = embed(path)
    caption = re.sub(r"^fig(?=\d)", "Fig. ", re.sub(r"[_-]+", " ", path.stem))
    return caption + (", animated" if image.still else ""), image


def groups(config: Record) -> dict[str, dict[str, str]]:
    """The config's fields by group, those of no group first, as "general"."""
    general = {name: value for name, value in config.items() if not isinstance(value, dict)}
    nested = {name: render.flat(value) for name, value in config.items() if isinstance(value, dict)}
    return {"general": render.flat(general), **nested}


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of `items`, evenly chosen, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def panels(run: Run) -> dict[str, list[tuple[str, str]]]:
    """Of each training plot its name and (label, field of metrics.jsonl) of its lines."""
    fields = list(dict.fromkeys(name for row in run.metrics for name in row if name not in NOT_PLOTTED))
    ratios = [(label, name) for label, name in (("data", "ratio_data"), ("flowed", "ratio_flow")) if name in fields]
    found: dict[str, list[tuple[str, str]]] = {}
    for name in ("loss", "ratio", "grad_norm", "learning_rate", *fields):
        if name == "ratio" and ratios:
            found[name] = ratios
        elif name in fields and ("flowed", name) not in ratios and ("data", name) not in ratios:
            found[name] = [("", name)]
    return found


def training_plots(run: Run) -> list[plots.Plot]:
    """Loss, ratios, gradient norm, learning rate, and whatever else is in metrics.jsonl."""
    steps = [row["step"] for row in run.metrics]
    shown = []
    for i, (name, curves) in enumerate(panels(run).items()):
        lines = [
            plots.Line(label, steps, [row.get(field) for row in run.metrics], series)
            for series, (label, field) in enumerate(curves)
        ]
        mark = 1.0 if name == "ratio" else None
        title = TITLES.get(name, name.replace("_", " "))
        shown.append(plots.lines(f"training-{i}", title, lines, log=name in LOGARITHMIC, mark=mark))
    return shown


def diagnostic_plots(rows: list[Record]) -> list[plots.Plot]:
    """Held-out metrics against step; of the latest line the ratios, and of it and earlier ones what the flow does."""
    shown = []
    names = list(dict.fromkeys(name for row in rows for name in row.get("metrics", {})))
    for i, name in enumerate(names):
        curve = plots.Line("", [row["step"] for row in rows], [row.get("metrics", {}).get(name) for row in rows])
        shown.append(plots.lines(f"held-out-{i}", f"Held-out {name.replace('_', ' ')}", [curve]))
    flows = [row for row in rows if "flow" in row]
    for name, title, note in (
        (
            "kl",
            "KL along the flow",
            "Mean of log r over the particles, in nats: an estimate at the end of the flow, where r is learnt.",
        ),
        ("displacement", "Distance moved in each flow step", "Mean Euclidean distance, in the units of the data."),
    ):
        chosen = spread([row for row in flows if name in row["flow"]], MAX_EARLIER + 1)
        if chosen:
            shown.append(_flow_plot(name, title, note, chosen))
    latest = [row for row in rows if "histogram" in row][-1:]
    for row in latest:
        counts = {name: row["histogram"].get(name, []) for name in ("data", "flowed", "prior")}
        title, note = (
            f"Density ratio at step {row['step']:,}",
            "Left of 0: likelier under the data than under the samples.",
        )
        edges = row["histogram"]["edges"]
        shown.append(plots.histogram("ratio", title, edges, counts, "log₁₀ r", note))
    return shown


def _flow_plot(name: str, title: str, note: str, rows: list[Record]) -> plots.Plot:
    curves = []
    for i, row in enumerate(rows, 1):
        # In the first state nothing has moved yet.
        start = 1 if name == "displacement" else 0
        x, y = row["flow"]["steps"][start:], row["flow"][name][start:]
        last = i == len(rows)
        label = f"step {row['step']:,}" if last or i == 1 else ""
        curves.append(plots.Line(label, x, y, opacity=1.0 if last else 0.25 + 0.4 * i / len(rows)))
    mark = 0.0 if name == "kl" else None
    return plots.lines(f"flow-{name}", title, curves, x_label="flow step", mark=mark, note=note)


def evaluation(record: Record) -> dict[str, Any]:
    """A line of evaluation.jsonl as the page's table shows it."""
    value, interval = render.estimate(record)
    # Of a reference that was read as mean and covariance the count is 0.
    counts = [render.number(record[name]) for name in ("num_samples", "num_reference") if record.get(name)]
    weights = {True: "EMA", False: "online", None: ""}[record.get("ema")]
    reference = f"Reference: {record['reference']}" if record.get("reference") else ""
    return {
        "name": render.metric_name(record),
        "value": value,
        "interval": interval,
        "confidence": render.confidence(record),
        "counts": " / ".join(counts),
        "step": render.number(record["step"]) if "step" in record else "",
        "weights": weights,
        "seed": str(record.get("seed", "")),
        "flow_steps": render.number(record["flow_steps"]) if "flow_steps" in record else "",
        "device": record.get("device", ""),
        "seconds": render.duration(record["seconds"]) if record.get("seconds") is not None else "",
        "date": record.get("date", ""),
        "about": render.sentences(
            render.better(record["metric"]), record.get("protocol", ""), reference, samples_of(record)
        ),
        "warnings": record.get("warnings", []),
        "versions": ", ".join(f"{name} {version}" for name, version in record.get("versions", {}).items()),
    }


def samples_of(record: Record) -> str:
    """Whose samples were measured, where it was not the run's model that drew them."""
    source = record.get("samples", "the model's")
    return "" if source == "the model's" else f"Samples: {source}, not drawn from the model"


def headline(run: Run) -> list[tuple[str, str, str]]:
    """(name, value, detail) of what a reader wants first: the newest value of each metric of its own
    samples, the best step, the speed.
    """
    newest = {render.metric_name(record): record for record in run.evaluations if not samples_of(record)}
    found = []
    for name, record in newest.items():
        value, interval = render.estimate(record)
        found.append((name, value, interval))
    if run.best:
        metric = f"{run.best['metric'].replace('_', ' ')} {render.number(run.best['value'])}"
        found.append(("best checkpoint", f"step {run.best['step']:,}", metric))
    return found


def best_checkpoint(run: Run) -> str:
    """What best.json says, and whether that checkpoint is still there."""
    if run.best is None:
        return "not chosen: there is no best.json"
    kept = run.best["step"] in run.checkpoints or (run.workdir / BEST / str(run.best["step"])).is_dir()
    gone = "" if kept else "; its checkpoint is gone"
    metric = run.best["metric"].replace("_", " ")
    return f"step {run.best['step']:,}: {metric} {render.number(run.best['value'])}{gone}"


def rate(run: Run) -> str:
    """The speed of training, and where that is known from."""
    speed = run.speed()
    return f"{render.number(speed[0])} steps/s, from {speed[1]}" if speed else "not recorded"


def facts(run: Run) -> dict[str, str]:
    """What is known of where and when the run was made."""
    begun = datetime.datetime.fromtimestamp((run.workdir / CONFIG_FILE).stat().st_mtime).astimezone()
    found = {"checkpoints": ", ".join(f"step {step:,}" for step in run.checkpoints) or "none"}
    found["best"] = best_checkpoint(run)
    found |= {"speed": rate(run), f"{CONFIG_FILE} written": begun.strftime("%Y-%m-%d %H:%M %Z")}
    evaluated = [record["versions"] for record in run.evaluations if record.get("versions")]
    for versions in evaluated[-1:]:
        found["evaluated with"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return found | {"workdir": str(run.workdir)}
