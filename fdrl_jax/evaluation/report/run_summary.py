"""Short descriptions of a run that both pages show."""

import pathlib

from fdrl_jax.evaluation.report import text_formats
from fdrl_jax.experiment import naming
from fdrl_jax.experiment.manifest import BEST
from fdrl_jax.experiment.run_record import Record, Run

# Commands that create the parts which a run lacks; {workdir} is replaced.
_TRAIN = "python main.py --config=configs/NAME.py --workdir={workdir}"
COMMANDS = {
    "metrics": _TRAIN,
    "samples": _TRAIN,
    "checkpoints": _TRAIN,
    "diagnostics": _TRAIN,
    "evaluations": "python main.py --mode=evaluate --workdir={workdir}",
    "figures": "python main.py --mode=figures --workdir={workdir}",
}


def commands(workdir: str) -> dict[str, str]:
    """Return `COMMANDS` for a directory, whose name must be quoted for a shell."""
    return {part: command.format(workdir=workdir) for part, command in COMMANDS.items()}


def summary(run: Run) -> str:
    """Return one line with the data, the method and how far the run is trained."""
    data, total = _group(run, "data"), _group(run, "train").get("num_steps")
    name, folder = str(data.get("name", "")), pathlib.PurePath(str(data.get("path", ""))).name
    parts = [
        f"{name} ({folder})" if folder else name,
        naming.config_summary(run.config),
        f"step {run.step():,}" + (f" of {total:,}" if isinstance(total, int) else ""),
    ]
    return " · ".join(filter(None, parts))


def _group(run: Run, name: str) -> Record:
    group = run.config.get(name)
    return group if isinstance(group, dict) else {}


def best_checkpoint(run: Run) -> str:
    """Return the best checkpoint that best.json names, and whether it was removed since."""
    if run.best is None:
        return "not chosen: there is no best.json"
    kept = run.best["step"] in run.checkpoints or (run.workdir / BEST / str(run.best["step"])).is_dir()
    removed = "" if kept else "; its checkpoint was removed"
    return f"step {run.best['step']:,}: {best_value(run.best)}{removed}"


def best_value(best: Record) -> str:
    """Return the metric and the value of best.json, such as "frechet pixels 96.0"."""
    return f"{best['metric'].replace('_', ' ')} {text_formats.number(best['value'])}"


def speed(run: Run) -> str:
    """Return the speed of training and the files it was computed from."""
    rate = run.speed()
    return f"{text_formats.number(rate[0])} steps/s, from {rate[1]}" if rate else "not recorded"


def source_of_samples(record: Record) -> str:
    """Return which samples an evaluation result measured, as a sentence; "" for samples of the run's model."""
    source = record.get("samples", "the model's")
    return "" if source == "the model's" else f"Samples: {source}, not drawn from the model"


def reference(record: Record) -> str:
    """Return the reference of an evaluation result, as a sentence; "" if the line has none."""
    return f"Reference: {record['reference']}" if record.get("reference") else ""
