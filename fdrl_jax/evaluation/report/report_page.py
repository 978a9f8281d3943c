"""`report.html`: one page with everything that a workdir records about its run."""

import datetime
import pathlib
import re
import shlex
from typing import Any

from fdrl_jax.evaluation.report import html_page, text_formats
from fdrl_jax.evaluation.report.embedded_images import Embedded, embed
from fdrl_jax.evaluation.report.run_summary import (
    best_checkpoint,
    best_value,
    commands,
    reference,
    source_of_samples,
    speed,
    summary,
)
from fdrl_jax.evaluation.report.training_plots import diagnostic_plots, spread, training_plots
from fdrl_jax.experiment.run_record import Record, Run, read_run
from fdrl_jax.experiment.workdir_files import CONFIG_FILE

# Largest number of sample pictures; the steps are chosen evenly.
MAX_SAMPLES = 6


def write_report(workdir: str | pathlib.Path, out: str | pathlib.Path | None = None) -> pathlib.Path:
    """Write a run's report: one HTML file that needs no network and has no script.

    Args:
      workdir: the run's directory; `experiment.run_record` lists the files that are read.
      out: the file to write; WORKDIR/report.html by default.

    Returns:
      Path of the file.

    Raises:
      InputError: there is no run in `workdir`, or one of its files is damaged. A damaged line of a .jsonl file does not
        raise: it is left out.
    """
    run = read_run(workdir)
    out = run.workdir / "report.html" if out is None else pathlib.Path(out)
    html_page.write_page(
        "report.html",
        out,
        run=run,
        summary=summary(run),
        headline=headline(run),
        groups=groups(run.config),
        training=training_plots(run),
        diagnostics=diagnostic_plots(run.diagnostics),
        diagnostics_reference=next((row.get("reference", "") for row in run.diagnostics[-1:]), ""),
        samples=[(step, embed(path)) for step, path in spread(list(run.samples.items()), MAX_SAMPLES)],
        figures=[_figure(path) for path in run.figures],
        evaluations=[evaluation_row(record) for record in run.evaluations],
        commands=commands(shlex.quote(str(run.workdir))),
        facts=facts(run),
    )
    return out


def _figure(path: pathlib.Path) -> tuple[str, Embedded]:
    """Return a caption, such as "Fig. 12 pixels" for fig12_pixels.png, and the picture."""
    image = embed(path)
    caption = re.sub(r"^fig(?=\d)", "Fig. ", re.sub(r"[_-]+", " ", path.stem))
    return caption + (", animated" if image.still else ""), image


def groups(config: Record) -> dict[str, dict[str, str]]:
    """Return the config's fields by group; the first group, "general", has the fields outside of groups."""
    general = {name: value for name, value in config.items() if not isinstance(value, dict)}
    nested = {name: text_formats.flat(value) for name, value in config.items() if isinstance(value, dict)}
    return {"general": text_formats.flat(general), **nested}


def evaluation_row(record: Record) -> dict[str, Any]:
    """Return the texts of a row in the table of metrics.

    Args:
      record: a line of evaluation.jsonl.
    """
    value, interval = text_formats.estimate(record)
    # The number of reference images is 0 if their mean and covariance came from a file.
    counts = [text_formats.number(record[name]) for name in ("num_samples", "num_reference") if record.get(name)]
    protocol = record.get("protocol", "")
    return {
        "name": text_formats.metric_name(record),
        "value": value,
        "interval": interval,
        "confidence": text_formats.confidence(record),
        "counts": " / ".join(counts),
        "step": text_formats.number(record["step"]) if "step" in record else "",
        "weights": {True: "EMA", False: "online", None: ""}[record.get("ema")],
        "seed": str(record.get("seed", "")),
        "flow_steps": text_formats.number(record["flow_steps"]) if "flow_steps" in record else "",
        "device": record.get("device", ""),
        "seconds": text_formats.duration(record["seconds"]) if record.get("seconds") is not None else "",
        "date": record.get("date", ""),
        "about": text_formats.sentences(
            text_formats.better(record["metric"]), protocol, reference(record), source_of_samples(record)
        ),
        "warnings": record.get("warnings", []),
        "versions": _versions(record.get("versions", {})),
    }


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def headline(run: Run) -> list[tuple[str, str, str]]:
    """Return the newest value of each metric of the run's own samples, and the best checkpoint.

    Returns:
      (name, value, detail) of each entry.
    """
    newest = {text_formats.metric_name(record): record for record in run.evaluations if not source_of_samples(record)}
    entries = []
    for name, record in newest.items():
        value, interval = text_formats.estimate(record)
        entries.append((name, value, interval))
    if run.best:
        entries.append(("best checkpoint", f"step {run.best['step']:,}", best_value(run.best)))
    return entries


def facts(run: Run) -> dict[str, str]:
    """Return the checkpoints, the speed, and the time and software of a run, by name."""
    started = datetime.datetime.fromtimestamp((run.workdir / CONFIG_FILE).stat().st_mtime).astimezone()
    rows = {
        "checkpoints": ", ".join(f"step {step:,}" for step in run.checkpoints) or "none",
        "best": best_checkpoint(run),
        "speed": speed(run),
        f"{CONFIG_FILE} written": started.strftime("%Y-%m-%d %H:%M %Z"),
    }
    evaluated = [record["versions"] for record in run.evaluations if record.get("versions")]
    if evaluated:
        rows["evaluated with"] = _versions(evaluated[-1])
    return rows | {"workdir": str(run.workdir)}
