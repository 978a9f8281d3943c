"""The tables of `docs/ablations.md`: `configs/ablations/` trained with several seeds, and their samples measured.

    python -m benchmarks.ablations TABLE|all [--seeds=0,1,2] [--runs=DIR]

Each run gives 1797 samples, compared with the 1797 images in pixels: k-NN precision and recall (k = 3), coverage
(k = 5), Frechet distance. A table that shares a training with another takes it from the `--runs` folder, and a training
that was cut short goes on there. A run that diverged is counted and left out of the means.
"""

import argparse
import contextlib
import importlib
import io
import pathlib
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.environment import describe
from fdrl_jax import builders, evaluate
from fdrl_jax.loading import load
from fdrl_jax.train import train
from fdrl_jax.types import DivergedError

TABLES = ("guidance", "prior", "pairing", "refinement", "flow_length", "precision")

NUM_SAMPLES = 1797
METRICS = "precision_recall,density_coverage,frechet"
COLUMNS = ("precision", "recall", "coverage", "frechet")


def variants(table: str) -> dict[str, Any]:
    """A table's configs by variant."""
    module = importlib.import_module(f"configs.ablations.{table}")
    return {variant: module.get_config(variant) for variant in module.VARIANTS}


def run_folder(config: Any, runs: pathlib.Path) -> pathlib.Path:
    """Named by what the ablations change in training: kappa only matters in sampling."""
    kind = "fdrl" if config.flow.guided else "stale"
    fields = [config.loss, config.divergence, config.prior.name, kind, f"k{config.flow.num_steps}"]
    if config.precision != "float32":
        fields.append(config.precision)
    return runs / "-".join((*fields, f"{config.train.num_steps}", f"seed{config.seed}"))


def trained(config: Any, runs: pathlib.Path) -> pathlib.Path | None:
    """The folder of the finished run, trained if need be; None if it diverged."""
    folder = run_folder(config, runs)
    config = config.copy_and_resolve_references()
    config.flow.kappa = 0  # Any; the same for all that share the training.
    diverged = folder.with_suffix(".diverged")
    if not diverged.exists():
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                train(builders.normalise(config), folder, progress=False)
            return folder
        except DivergedError as error:
            diverged.write_text(str(error))
    print(f"{folder.name}: {diverged.read_text()}")
    return None


def _interval(values: np.ndarray) -> str:
    """Mean over the runs that did not diverge, and half of its 95% interval (Student's t)."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "-"
    mean, digits = values.mean(), 3 if np.abs(values).max() < 10 else 0
    if len(values) == 1:
        return f"{mean:.{digits}f} (1 run)"
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def measured(config: Any, folder: pathlib.Path) -> dict[str, float]:
    """The metrics of one run's samples, 1797 with seed 0, flowed for K + kappa steps."""
    steps = config.flow.num_steps + config.flow.kappa
    results = evaluate.evaluate(
        load(folder),
        evaluate.parse(METRICS),
        num_samples=NUM_SAMPLES,
        num_steps=steps,
        batch_size=NUM_SAMPLES,
        replicates=2,
        progress=False,
    )
    return {result.metric: result.value for result in results}


def table(name: str, seeds: list[int], runs: pathlib.Path) -> str:
    """A table in Markdown: each variant's metrics, and under it their differences to the first variant's."""
    values: dict[str, dict[str, list[float]]] = {}
    for variant, config in variants(name).items():
        rows = values.setdefault(variant, {column: [] for column in COLUMNS})
        for seed in seeds:
            config.seed = seed
            folder = trained(config, runs)
            numbers = {} if folder is None else measured(config, folder)
            for column in COLUMNS:
                rows[column].append(numbers.get(column, np.nan))
    config_of = variants(name)
    first = next(iter(values))
    lines = [
        f"| {name} | training steps | K + kappa | {' | '.join(COLUMNS)} |",
        f"| --- | --- | --- |{' --- |' * len(COLUMNS)}",
    ]
    for variant, rows in values.items():
        config = config_of[variant]
        diverged = int(np.isnan(rows[COLUMNS[0]]).sum())
        what = f"{variant} ({diverged} of {len(seeds)} diverged)" if diverged else variant
        what += f" | {config.train.num_steps} | {config.flow.num_steps} + {config.flow.kappa}"
        lines.append(f"| {what} | {' | '.join(_interval(np.array(rows[c])) for c in COLUMNS)} |")
    for variant, rows in list(values.items())[1:]:
        differences = [np.array(rows[c]) - np.array(values[first][c]) for c in COLUMNS]
        lines.append(f"| {variant} less {first} | | | {' | '.join(map(_interval, differences))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=[*TABLES, "all"])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/ablations"))
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    print(f"{describe()}; {NUM_SAMPLES} samples; {len(seeds)} seeds, 95% intervals of the mean (Student's t)\n")
    for name in TABLES if arguments.table == "all" else [arguments.table]:
        print(table(name, seeds, arguments.runs) + "\n", flush=True)


if __name__ == "__main__":
    main()
