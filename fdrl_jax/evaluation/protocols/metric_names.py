"""The names of metrics on the command line: METRIC@FEATURES, and short names such as fid."""

import dataclasses

from fdrl_jax.experiment import schema
from fdrl_jax.types import InputError

# k of precision and recall, and of density and coverage, as in their papers.
NEIGHBOURS = {"precision_recall": 3, "density_coverage": 5}
METRICS = ("frechet", "kid", *NEIGHBOURS, "sliced_wasserstein")

# Smallest number of samples for each metric: a covariance needs 2, k nearest neighbours need k + 1.
MIN_SAMPLES = {"frechet": 2, "kid": 4, "sliced_wasserstein": 1, **{name: k + 1 for name, k in NEIGHBOURS.items()}}

# Only Frechet distances in an Inception space are called FID.
SHORT_NAMES = {
    "fid": "frechet@inception",
    "fid-paper": "frechet@inception-torchvision",
    "kid": "kid@inception",
    **{metric: f"{metric}@pixels" for metric in METRICS if metric != "kid"},
}


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric in a feature space.

    Attributes:
      metric: one of `METRICS`.
      features: name of the feature space.
      name: short name in the literature, such as fid; "" where there is none.
    """

    metric: str
    features: str
    name: str = ""


def parse(names: str) -> list[Metric]:
    """Return the metrics of a comma-separated list such as `fid,precision_recall@lite0`.

    Raises:
      InputError: a metric is unknown, or the list is empty.
    """
    metrics = []
    for name in filter(None, (part.strip() for part in names.split(","))):
        metric, at, space = (name if "@" in name else SHORT_NAMES.get(name, name)).partition("@")
        if metric not in METRICS or (at and not space):
            known = {*METRICS, *SHORT_NAMES}
            raise InputError(
                f"--metrics has {name!r}, which is not a metric: {schema.nearest(metric, known)} (METRIC@FEATURES "
                "names a space, such as frechet@lite0)"
            )
        short = next((s for s, full in SHORT_NAMES.items() if full == f"{metric}@{space}"), "")
        metrics.append(Metric(metric, space, short if short != metric or short == "kid" else ""))
    if not metrics:
        raise InputError(f"--metrics is empty: name some of {', '.join(SHORT_NAMES)}, or METRIC@FEATURES")
    return metrics
