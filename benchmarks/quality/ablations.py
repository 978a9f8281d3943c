"""The tables of `docs/ablations.md`: train the configs of `configs/ablations/` with several seeds, measure samples.

    python -m benchmarks.quality.ablations TABLE|all [--seeds=0,1,2] [--runs=DIR]

1797 samples of each run are compared with the 1797 digits, in pixels: k-NN precision and recall (k = 3), coverage
(k = 5), Frechet distance. Runs are kept in the `--runs` folder: tables that need the same run share it, and a run that
was interrupted continues. A run that diverged is counted and left out of the means.
"""

import argparse
import contextlib
import importlib
import io
import pathlib
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.common.environment import describe
from fdrl_jax.evaluation import protocols
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.loading import load
from fdrl_jax.training.loop import train
from fdrl_jax.types import DivergedError

TABLES = ("guidance", "prior", "pairing", "refinement", "flow_length", "precision")

NUM_SAMPLES = 1797
METRICS = "precision_recall,density_coverage,frechet"
COLUMNS = ("precision", "recall", "coverage", "frechet")


def variants(table: str) -> dict[str, Any]:
    """Return the configs of a table by variant."""
    module = importlib.import_module(f"configs.ablations.{table}")
    return {variant: module.get_config(variant) for variant in module.VARIANTS}


def run_folder(config: Any, runs: pathlib.Path) -> pathlib.Path:
    """Return the folder of a run, named by what the ablations change in training; kappa changes sampling alone."""
    kind = "fdrl" if config.flow.guided else "stale"
    fields = [config.loss, config.divergence, config.prior.name, kind, f"k{config.flow.num_steps}"]
    if config.precision != "float32":
        fields.append(config.precision)
    return runs / "-".join((*fields, f"{config.train.num_steps}", f"seed{config.seed}"))


def trained(config: Any, runs: pathlib.Path) -> pathlib.Path | None:
    """Train a config unless its run is finished, and return the folder of the run; None if it diverged."""
    folder = run_folder(config, runs)
    config = config.copy_and_resolve_references()
    config.flow.kappa = 0  # Has no effect on training, but must be the same for all variants that share the run.
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
    """Format the mean over the runs that did not diverge, and half the width of its 95% interval (Student's t)."""
    values = values[np.isfinite(values)]
    if not len(values):
        return "-"
    mean, digits = values.mean(), 3 if np.abs(values).max() < 10 else 0
    if len(values) == 1:
        return f"{mean:.{digits}f} (1 run)"
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def measured(config: Any, folder: pathlib.Path) -> dict[str, float]:
    """Return the metrics of 1797 samples of one run, drawn with seed 0 in K + kappa flow steps."""
    steps = config.flow.num_steps + config.flow.kappa
    results = protocols.evaluate(
        load(folder),
        protocols.parse(METRICS),
        num_samples=NUM_SAMPLES,
        num_steps=steps,
        batch_size=NUM_SAMPLES,
        replicates=2,
        progress=False,
    )
    return {result.metric: result.value for result in results}


def table(name: str, seeds: list[int], runs: pathlib.Path) -> str:
    """Return a table in Markdown: the metrics of each variant, then their differences from the first variant's."""
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
        label = f"{variant} ({diverged} of {len(seeds)} diverged)" if diverged else variant
        label += f" | {config.train.num_steps} | {config.flow.num_steps} + {config.flow.kappa}"
        lines.append(f"| {label} | {' | '.join(_interval(np.array(rows[c])) for c in COLUMNS)} |")
    for variant, rows in list(values.items())[1:]:
        differences = [np.array(rows[c]) - np.array(values[first][c]) for c in COLUMNS]
        lines.append(f"| {variant} less {first} | | | {' | '.join(map(_interval, differences))} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=[*TABLES, "all"])
    parser.add_argument("--seeds", default="0,1,2", help="seeds, separated by commas")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/ablations"), help="keep the runs here")
    options = parser.parse_args(argv)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    print(f"{describe()}; {NUM_SAMPLES} samples; {len(seeds)} seeds, 95% intervals of the mean (Student's t)\n")
    for name in TABLES if options.table == "all" else [options.table]:
        print(table(name, seeds, options.runs) + "\n", flush=True)


if __name__ == "__main__":
    main()
