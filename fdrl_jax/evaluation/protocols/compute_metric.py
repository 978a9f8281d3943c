"""One metric of two sets of feature vectors: its numbers, each with a confidence interval, and warnings."""

import functools

import numpy as np

from fdrl_jax.evaluation import metrics
from fdrl_jax.evaluation.metrics.frechet import Reference, rank
from fdrl_jax.evaluation.protocols.feature_vectors import chunks
from fdrl_jax.evaluation.protocols.metric_names import NEIGHBOURS
from fdrl_jax.evaluation.protocols.reference_set import ReferenceSet

# Value and interval (low, high) of each number, by its name.
Numbers = dict[str, tuple[float, tuple[float, float]]]


def compute_metric(
    metric: str, reference: ReferenceSet, vectors: np.ndarray, replicates: int
) -> tuple[Numbers, list[str]]:
    """Return value and interval of each number of a metric, and warnings.

    Args:
      metric: one of `metric_names.METRICS`.
      reference: the reference; every metric but frechet needs its `vectors`.
      vectors: feature vectors of the samples, [n, d].
      replicates: number of bootstrap replicates.
    """
    if metric == "frechet":
        return _frechet(reference, vectors, replicates)
    data = reference.vectors
    assert data is not None  # `evaluate` refuses statistics files for these metrics.
    if metric == "kid":
        value, low, high = metrics.kernel_distance(data, vectors)
        return {"kid": (value, (low, high))}, []
    if metric == "sliced_wasserstein":
        count = min(len(data), len(vectors))
        chosen = np.random.default_rng(0).permutation(len(data))[:count]
        pair = data[chosen].astype(np.float64), vectors[:count].astype(np.float64)
        value = metrics.sliced_wasserstein(*pair)
        interval = metrics.bootstrap(
            value, lambda rows: metrics.sliced_wasserstein(pair[0], pair[1][rows]), count, replicates
        )
        return {metric: (value, interval)}, []
    terms = metrics.neighbourhoods(data, vectors, NEIGHBOURS[metric]).terms()
    numbers = {}
    for name in metric.split("_"):
        # The balls are not resampled: the copy of an example would be its nearest neighbour, and shrink its ball.
        mean = float(terms[name].mean())
        resampled = functools.partial(_mean_of_rows, terms[name])
        numbers[name] = (mean, metrics.bootstrap(mean, resampled, len(terms[name]), replicates))
    return numbers, []


def _mean_of_rows(terms: np.ndarray, rows: np.ndarray) -> float:
    return float(terms[rows].mean())


def _frechet(reference: ReferenceSet, vectors: np.ndarray, replicates: int) -> tuple[Numbers, list[str]]:
    moments = metrics.Moments(chunks(vectors))
    if reference.moments is None:
        assert reference.vectors is not None
        reference_moments = metrics.Moments(chunks(reference.vectors))
        gaussian = Reference(reference_moments.mean, reference_moments.covariance)
    else:
        gaussian = Reference(*reference.moments)
    value = gaussian.distance(moments.mean, moments.covariance)

    def resampled(rows: np.ndarray) -> float:
        replicate = metrics.Moments(chunks(vectors[rows]))
        return gaussian.distance(replicate.mean, replicate.covariance)

    warnings = []
    sides = [("samples", len(vectors), moments.covariance)]
    if reference.vectors is not None:
        sides.append(("reference images", len(reference.vectors), gaussian.covariance))
    for side, count, covariance in sides:
        d = vectors.shape[1]
        if count <= d:
            warnings.append(
                f"{count:,} {side} in {d:,} dimensions: their covariance has rank {rank(covariance):,}, and the "
                f"distance is biased upwards; use many more than {d:,}"
            )
    return {"frechet": (value, metrics.bootstrap(value, resampled, len(vectors), replicates))}, warnings
