"""Read the record of a run: everything that its workdir says about it, without loading the model.

WORKDIR/config.json          the config; required, every other file is optional
WORKDIR/metrics.jsonl        one JSON object per line: step, training metrics, `seconds` since the line before
WORKDIR/diagnostics.jsonl    one per line: step, held-out metrics, KL and displacement of the flow, log10 r histograms
WORKDIR/evaluation.jsonl     one per line: value of a metric, its interval, and everything that it depends on
WORKDIR/best.json            step, metric and value of the best checkpoint, which is WORKDIR/best/STEP
WORKDIR/samples/STEP.png     samples after STEP training steps, always of the same seed
WORKDIR/figures/             figures as PNG, GIF and WebP
"""

import dataclasses
import itertools
import math
import pathlib
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from fdrl_jax.experiment import checkpoint
from fdrl_jax.experiment.manifest import CHECKPOINTS
from fdrl_jax.experiment.workdir_files import (
    BEST_FILE,
    CONFIG_FILE,
    DIAGNOSTICS_FILE,
    EVALUATION_FILE,
    METRICS_FILE,
    read_config,
)
from fdrl_jax.types import InputError
from fdrl_jax.utils.untrusted_files import load_json, parse_json

SAMPLES = "samples"
FIGURES = "figures"
_PICTURES = (".png", ".gif", ".webp")

Record: TypeAlias = dict[str, Any]
Check: TypeAlias = Callable[[Any], bool]


@dataclasses.dataclass(frozen=True)
class Run:
    """The record of one run.

    Attributes:
      workdir: directory of the run, as it was passed to `read_run`.
      name: name of that directory.
      config: content of config.json, with lists for sequences.
      metrics, diagnostics, evaluations: lines of the three .jsonl files, in their order; empty without the file.
      samples: training step -> path of a picture, by increasing step.
      figures: paths of pictures, sorted by name. If an animation is stored as GIF and as WebP, only the WebP is listed.
      checkpoints: training steps of the checkpoints, increasing.
      best: content of best.json; None without the file.
      damaged: one message for each line of the .jsonl files that was left out.
    """

    workdir: pathlib.Path
    name: str
    config: Record
    metrics: list[Record]
    diagnostics: list[Record]
    evaluations: list[Record]
    samples: dict[int, pathlib.Path]
    figures: list[pathlib.Path]
    checkpoints: list[int]
    best: Record | None
    damaged: list[str] = dataclasses.field(default_factory=list)

    def step(self) -> int:
        """Return the last training step that metrics, checkpoints or samples are of; 0 if there are none yet."""
        return max([0, *(row["step"] for row in self.metrics), *self.checkpoints, *self.samples])

    def speed(self) -> tuple[float, str] | None:
        """Return training steps per second, and the source of that number; None if it is unknown.

        The source is `seconds` in metrics.jsonl, or else the modification times of the sample pictures. These count
        only if they increase, by more than a second per picture: in a copied directory they are the time of copying.
        """
        steps = seconds = 0.0
        last_step = 0
        for row in self.metrics:
            if row.get("seconds"):
                steps, seconds = steps + row["step"] - last_step, seconds + row["seconds"]
            last_step = row["step"]
        if steps > 0 and seconds > 0:
            return steps / seconds, f"{seconds:,.0f} s of {METRICS_FILE}"
        written = [(step, path.stat().st_mtime) for step, path in self.samples.items()]
        increasing = all(a[1] < b[1] for a, b in itertools.pairwise(written))
        if len(written) > 1 and increasing and written[-1][1] - written[0][1] > len(written):
            rate = (written[-1][0] - written[0][0]) / (written[-1][1] - written[0][1])
            return rate, f"the times of the files in {SAMPLES}/, pauses included"
        return None


def read_run(workdir: str | pathlib.Path) -> Run:
    """Read the record of the run in `workdir`. A damaged line of a .jsonl file is left out, and a message names it.

    Raises:
      InputError: there is no run in `workdir`, or another of its files is damaged.
    """
    workdir = pathlib.Path(workdir)
    config = read_config(workdir) if workdir.is_dir() else None
    if config is None:
        raise InputError(f"{workdir} holds no training run (no {CONFIG_FILE} in it): train one there first")
    if "attack" in config:
        raise InputError(f"{workdir} holds a classifier, not a training run: its accuracy is in accuracy.json")
    checkpoints: list[int] = []
    if (workdir / CHECKPOINTS).is_dir():
        with checkpoint.Checkpoints(workdir) as manager:
            checkpoints = manager.all_steps()
    pictures, figures = _pictures(workdir / SAMPLES), _pictures(workdir / FIGURES)
    damaged: list[str] = []
    run = Run(
        workdir=workdir,
        name=workdir.resolve().name,
        config=config,
        metrics=read_lines(workdir / METRICS_FILE, damaged, _METRICS, others=_is_number),
        diagnostics=read_lines(workdir / DIAGNOSTICS_FILE, damaged, _DIAGNOSTICS),
        evaluations=read_lines(workdir / EVALUATION_FILE, damaged, _EVALUATION),
        samples=dict(sorted((int(path.stem), path) for path in pictures if path.stem.isdecimal())),
        figures=[p for p in figures if p.suffix != ".gif" or p.with_suffix(".webp") not in figures],
        checkpoints=checkpoints,
        best=_read_best(workdir / BEST_FILE),
        damaged=damaged,
    )
    for line in damaged:
        print(f"{line}: left out")
    return run


def _pictures(folder: pathlib.Path) -> list[pathlib.Path]:
    if not folder.is_dir():
        return []
    # The name of a file that is being written starts with a dot.
    complete = (path for path in folder.iterdir() if path.suffix in _PICTURES and not path.name.startswith("."))
    # Numbers are compared by value, so that fig4 comes before fig11.
    return sorted(complete, key=lambda path: [part.zfill(12) for part in re.split(r"(\d+)", path.name)])


# --- Checks of JSON values: each returns True if the value is valid. None stands for a number that was not finite. ---


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_number(value: Any) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and float(value) is not None
    except OverflowError:
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _list_of(inner: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(inner, value))


def _dict_of(inner: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(inner, value.values()))


def _is_interval(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)))


def _is_flow(value: Any) -> bool:
    if not _dict_of(_list_of(_is_number))(value) or "steps" not in value:
        return False
    return all(len(value.get(name, value["steps"])) == len(value["steps"]) for name in ("kl", "displacement"))


def _is_histogram(value: Any) -> bool:
    if not _dict_of(_list_of(_is_number))(value) or "edges" not in value:
        return False
    edges, counts = value["edges"], [value[name] for name in value if name != "edges"]
    finite = all(x is not None and math.isfinite(x) for row in (edges, *counts) for x in row)
    return finite and edges == sorted(set(edges)) and all(len(row) == len(edges) - 1 for row in counts)


# Field -> (True if it is required, description of a valid value, check).
Fields: TypeAlias = dict[str, tuple[bool, str, Check]]

_METRICS: Fields = {"step": (True, "a step number", _is_count)}
_DIAGNOSTICS: Fields = {
    "step": (True, "a step number", _is_count),
    "reference": (False, "a text", _is_text),
    "metrics": (False, "an object of numbers", _dict_of(_is_number)),
    "flow": (False, "an object of the lists steps, kl and displacement, of one length", _is_flow),
    "histogram": (False, "an object of rising edges, and lists of counts with one entry fewer", _is_histogram),
    "seconds": (False, "a number", _is_number),
}
_EVALUATION: Fields = {
    "metric": (True, "a text", _is_text),
    "value": (True, "a number", _is_number),
    "features": (False, "a text", _is_text),
    "name": (False, "a text", lambda value: value is None or _is_text(value)),
    "protocol": (False, "a text", _is_text),
    "interval": (False, "two numbers", _is_interval),
    "confidence": (False, "a number", _is_number),
    "num_samples": (False, "a count", _is_count),
    "num_reference": (False, "a count", _is_count),
    "reference": (False, "a text", _is_text),
    "samples": (False, "a text", _is_text),
    "seed": (False, "a seed", _is_count),
    "step": (False, "a step number", _is_count),
    "ema": (False, "true or false", lambda value: isinstance(value, bool)),
    "flow_steps": (False, "a count", _is_count),
    "warnings": (False, "a list of texts", _list_of(_is_text)),
    "versions": (False, "an object of texts", _dict_of(_is_text)),
    "device": (False, "a text", _is_text),
    "date": (False, "a text", _is_text),
    "seconds": (False, "a number", _is_number),
}
_BEST: Fields = {
    "step": (True, "a step number", _is_count),
    "metric": (True, "a text", _is_text),
    "value": (True, "a number", _is_number),
}


def _problem(record: Any, fields: Fields, others: Check) -> str | None:
    """Return what is wrong with a line, in words; None if it is valid.

    Args:
      record: value of the line.
      fields: fields that the line must or may have.
      others: check of all other fields.
    """
    if not isinstance(record, dict):
        return "it is not a JSON object"
    for name, (required, description, check) in fields.items():
        if name not in record:
            if required:
                return f"it has no {name!r}"
        elif not check(record[name]):
            return f"{name!r} is not {description}"
    wrong = [name for name, value in record.items() if name not in fields and not others(value)]
    return f"{wrong[0]!r} is not a number" if wrong else None


def read_lines(
    path: pathlib.Path, damaged: list[str], fields: Fields, others: Check = lambda value: True
) -> list[Record]:
    """Return the valid lines of a .jsonl file, in order; [] if it does not exist.

    A line that is not valid is left out, because one such line (a killed process leaves half a line) should not hide
    the others.

    Args:
      path: the file.
      damaged: list to which a message is appended for each line that is left out.
      fields: fields that a line must or may have.
      others: check of fields that `fields` does not have.
    """
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
            problem = _problem(record, fields, others)
        except ValueError:
            problem = "it is not JSON"
        if problem:
            damaged.append(f"{path}, line {number} is damaged ({problem})")
        else:
            records.append(record)
    return records


def _read_best(path: pathlib.Path) -> Record | None:
    if not path.exists():
        return None
    try:
        best = load_json(path)
        problem = _problem(best, _BEST, others=lambda value: True)
    except ValueError:
        problem = "it is not JSON"
    if problem:
        raise InputError(f"{path} is damaged ({problem}): restore or remove it")
    return dict(best)
