"""What is asked for (METRIC@FEATURES) and what is written: one number a line, with all that it depends on."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable

from fdrl_jax import schema
from fdrl_jax.types import InputError

RESULTS_FILE = "evaluation.jsonl"

# Neighbours of precision and recall, and of density and coverage, as in their papers.
NEIGHBOURS = {"precision_recall": 3, "density_coverage": 5}
METRICS = ("frechet", "kid", *NEIGHBOURS, "sliced_wasserstein")

# How many samples each takes: a covariance two, a neighbour beyond the k-th.
LEAST = {"frechet": 2, "kid": 4, "sliced_wasserstein": 1, **{name: k + 1 for name, k in NEIGHBOURS.items()}}

# Names of the field for METRIC@FEATURES. FID is Inception's by either protocol; nothing else is called so.
SHORT_NAMES = {
    "fid": "frechet@inception",
    "fid-paper": "frechet@inception-torchvision",
    "kid": "kid@inception",
    **{metric: f"{metric}@pixels" for metric in METRICS if metric != "kid"},
}


@dataclasses.dataclass(frozen=True)
class Result:
    """One number, and all that it depends on.

    Attributes:
      metric: frechet, kid, precision, recall, density, coverage or sliced_wasserstein.
      features: the space's name.
      name: as the field calls it, such as fid; "" where it has no name of its own.
      protocol: what a number in this space depends on, in a sentence.
      value, interval, confidence: the estimate and its interval; see `evaluation.intervals`.
      num_samples, num_reference: how many of each were compared.
      dataset, reference: of the training; what the samples were compared with.
      samples: "the model's", or the file or folder they were read from.
      seed, step, ema, flow_steps: how the samples were drawn, by which parameters.
      warnings: why not to trust the number.
      versions, device, date: of this evaluation.
      seconds: what the metric took, without sampling and features.
    """

    metric: str
    features: str
    name: str
    protocol: str
    value: float
    interval: tuple[float, float]
    confidence: float
    num_samples: int
    num_reference: int
    dataset: str
    reference: str
    samples: str
    seed: int
    step: int
    ema: bool
    flow_steps: int
    warnings: tuple[str, ...]
    versions: dict[str, str]
    device: str
    date: str
    seconds: float

    def line(self) -> str:
        """For a person: the number with its interval, what it is of, and warnings."""
        what = f"{self.name or self.metric} ({self.metric} in {self.features})"
        low, high = self.interval
        text = (
            f"{what}: {self.value:.4g}, {self.confidence:.0%} interval {low:.4g} to {high:.4g}; {self.num_samples:,} "
        )
        text += f"samples against {self.num_reference:,}" if self.num_reference else "samples against"
        return "\n".join([f"{text} {self.reference}", *(f"  warning: {warning}" for warning in self.warnings)])


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric in a space, and what the user called it."""

    metric: str
    features: str
    name: str = ""


def parse(names: str) -> list[Metric]:
    """From `fid,precision_recall@lite0` to metrics.

    Raises:
      InputError: a metric is unknown, or none is given.
    """
    found = []
    for name in filter(None, (part.strip() for part in names.split(","))):
        metric, at, space = (name if "@" in name else SHORT_NAMES.get(name, name)).partition("@")
        if metric not in METRICS or (at and not space):
            known = {*METRICS, *SHORT_NAMES}
            raise InputError(
                f"--metrics has {name!r}, which is no metric: {schema.nearest(metric, known)} (METRIC@FEATURES names a "
                "space, such as frechet@lite0)"
            )
        short = next((s for s, full in SHORT_NAMES.items() if full == f"{metric}@{space}"), "")
        found.append(Metric(metric, space, short if short != metric or short == "kid" else ""))
    if not found:
        raise InputError(f"--metrics is empty: name some of {', '.join(SHORT_NAMES)}, or METRIC@FEATURES")
    return found


def write_results(workdir: pathlib.Path, results: Iterable[Result]) -> None:
    """Append to WORKDIR/evaluation.jsonl."""
    with (workdir / RESULTS_FILE).open("a") as file:
        file.writelines(json.dumps(dataclasses.asdict(result)) + "\n" for result in results)
