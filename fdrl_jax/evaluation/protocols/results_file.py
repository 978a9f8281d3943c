"""The results in WORKDIR/evaluation.jsonl: one number per line, with everything that it depends on."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable

RESULTS_FILE = "evaluation.jsonl"


@dataclasses.dataclass(frozen=True)
class Result:
    """One number, and everything that it depends on.

    Attributes:
      metric: frechet, kid, precision, recall, density, coverage or sliced_wasserstein.
      features: name of the feature space.
      name: short name in the literature, such as fid; "" where there is none.
      protocol: one sentence with everything that a number in this space depends on.
      value, interval, confidence: the estimate and its interval; see `utils.confidence_intervals`.
      num_samples, num_reference: number of samples and of reference examples; `num_reference` is 0 if not known.
      dataset: name of the training data set.
      reference: description of the examples that the samples were compared with.
      samples: "the model's", or the file or folder that they were read from.
      seed, step, ema, flow_steps: seed, training step, averaged parameters or not, and length of the flow, with which
        the samples were drawn.
      warnings: reasons not to trust the number.
      versions, device, date: versions of the software, device and date of this evaluation.
      seconds: time to compute the metric, without sampling and features.
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
        """Return the number for a reader: name, value, interval and counts, then one line for each warning."""
        title = f"{self.name or self.metric} ({self.metric} in {self.features})"
        low, high = self.interval
        text = (
            f"{title}: {self.value:.4g}, {self.confidence:.0%} interval {low:.4g} to {high:.4g}; {self.num_samples:,} "
        )
        text += f"samples against {self.num_reference:,}" if self.num_reference else "samples against"
        return "\n".join([f"{text} {self.reference}", *(f"  warning: {warning}" for warning in self.warnings)])


def write_results(workdir: pathlib.Path, results: Iterable[Result]) -> None:
    """Append results to WORKDIR/evaluation.jsonl."""
    with (workdir / RESULTS_FILE).open("a") as file:
        file.writelines(json.dumps(dataclasses.asdict(result)) + "\n" for result in results)
