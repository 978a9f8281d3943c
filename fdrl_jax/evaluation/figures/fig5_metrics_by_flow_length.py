"""Fig. 5: metrics of the samples by the length of the flow."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8
from matplotlib.figure import Figure

from fdrl_jax.evaluation.figures import layout
from fdrl_jax.evaluation.metrics import Moments
from fdrl_jax.evaluation.protocols.compute_metric import compute_metric
from fdrl_jax.evaluation.protocols.reference_set import ReferenceSet
from fdrl_jax.experiment import naming
from fdrl_jax.experiment.model import Model
from fdrl_jax.inference import sampling
from fdrl_jax.utils import plotting
from fdrl_jax.utils.pixel_scaling import to_uint8
from fdrl_jax.utils.plotting import Picture

# Larger images are reduced to this many pixels a side: the time of these metrics grows fast with the dimension.
_MAX_SIDE = 32


class Interval(NamedTuple):
    """A value with the bounds of its 95% interval."""

    value: float
    low: float
    high: float


# A function from samples, float32 [n, *event], to a number and the bounds of its interval.
Metric: TypeAlias = Callable[[np.ndarray], tuple[float, float, float]]


class Curve(NamedTuple):
    """A metric by flow length.

    Attributes:
      lengths: numbers of flow steps.
      value, low, high: the metric and the bounds of its interval at each length, float64; NaN where the flow has left
        the finite numbers.
    """

    lengths: Int[np.ndarray, " n"]
    value: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]


def default_lengths(model: Model, beyond: int = 60, every: int = 5) -> list[int]:
    """Return K, K + every, ..., K + beyond, and K + kappa, in increasing order."""
    flow = model.experiment.config["flow"]
    first, kappa = flow["num_steps"], flow["kappa"]
    return sorted({*range(first, first + beyond + 1, every), first + kappa})


def flow_length_curve(
    model: Model,
    key: Key[Array, ""] | int,
    num_samples: int,
    metric: Metric,
    lengths: Sequence[int] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Curve:
    """Measure the samples after each number of flow steps in `lengths`.

    Every sample is flowed once, through all lengths, and only its current state is kept in memory.

    Args:
      model: model that `fdrl_jax.load` or `fdrl_jax.train` returned.
      key, num_samples, batch_size, progress: as in `sampling.sample`.
      metric: function from samples, float32 [num_samples, *event], images in [-1, 1], to (value, low, high).
      lengths: increasing numbers of flow steps; `default_lengths` by default.

    Raises:
      InputError: an argument is out of range.
    """
    return flow_length_curves(model, key, num_samples, {"": metric}, lengths, batch_size, progress)[""]


def flow_length_curves(
    model: Model,
    key: Key[Array, ""] | int,
    num_samples: int,
    metrics: Mapping[str, Metric],
    lengths: Sequence[int] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> dict[str, Curve]:
    """Measure several metrics (name -> metric) along one flow; see `flow_length_curve`."""
    lengths = default_lengths(model) if lengths is None else list(lengths)
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in metrics}
    for _, states in sampling.states_at(model, key, num_samples, lengths, batch_size, progress):
        finite = np.isfinite(states).all()
        for name, metric in metrics.items():
            rows[name].append(metric(states) if finite else (np.nan,) * 3)
    return {name: Curve(np.array(lengths), *np.array(values, np.float64).T) for name, values in rows.items()}


def image_metrics(data: np.ndarray, num_samples: int, seed: int = 0, replicates: int = 20) -> dict[str, Metric]:
    """Return k-NN precision, k-NN recall and the Frechet distance in pixels (0..255), as `--mode=evaluate` has them.

    Images larger than 32x32 are reduced to that size by block means.

    Args:
      data: training images, uint8 [N, H, W, C]. The Frechet distance uses all of them, precision and recall a random
        choice of as many as there are samples.
      num_samples: number of samples that will be measured.
      seed: seed of that choice.
      replicates: number of bootstrap replicates of each interval.

    Raises:
      InputError: there are too few images or samples for nearest neighbours; raised when a metric is called.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(data))[:num_samples])
    subset = ReferenceSet(_vectors(data[chosen]), None, len(chosen), "")
    moments = Moments(_vectors(data[i : i + 1024]) for i in range(0, len(data), 1024))
    all_data = ReferenceSet(None, (moments.mean, moments.covariance), len(data), "")
    return {
        "k-NN precision (higher is better)": _metric("precision_recall", "precision", subset, replicates),
        "k-NN recall (higher is better)": _metric("precision_recall", "recall", subset, replicates),
        "Fréchet distance in pixels (lower is better)": _metric("frechet", "frechet", all_data, replicates),
    }


def point_metrics(data: Float[np.ndarray, "n 2"], replicates: int = 20) -> dict[str, Metric]:
    """Return the sliced Wasserstein distance to `data`, which must have as many points as there will be samples."""
    reference = ReferenceSet(data, None, len(data), "")
    name = "sliced_wasserstein"
    return {"sliced Wasserstein distance (lower is better)": _metric(name, name, reference, replicates)}


def _metric(metric: str, name: str, reference: ReferenceSet, replicates: int) -> Metric:
    """Return the part `name` of a metric of `evaluation.protocols`, as a function of samples."""

    def measure(samples: np.ndarray) -> Interval:
        vectors = _vectors(to_uint8(samples)) if samples.ndim == 4 else samples
        value, interval = compute_metric(metric, reference, vectors, replicates)[0][name]
        return Interval(value, *interval)

    return measure


def _vectors(images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n d"]:
    """Return images as rows of float64, reduced by block means if a side is larger than `_MAX_SIDE`."""
    x = images.astype(np.float64)
    n, h, w, c = x.shape
    block = h // _MAX_SIDE
    if block > 1 and h % block == 0 and w % block == 0:
        x = x.reshape(n, h // block, block, w // block, block, c).mean(axis=(2, 4))
    return x.reshape(n, -1)


# Line styles of the lengths in training and in sampling, in this order.
_MARKS = ({"color": "black", "linestyle": ":"}, {"color": "tab:red", "linestyle": "--"})


def flow_length_picture(
    model: Model, curves: Mapping[str, Curve], num_samples: int, seed: int, note: str = ""
) -> Picture:
    """Draw Fig. 5: each metric by flow length, its interval as a band, and lines at K and K + kappa.

    Args:
      model: the model, whose K and kappa are marked.
      curves: name of a metric -> curve, from `flow_length_curves`.
      num_samples: number of samples measured, for the caption.
      seed: the sampling seed, for the caption.
      note: further text for the caption.
    """
    lengths = naming.flow_lengths(model.experiment)
    figure = Figure(figsize=(7.6, 2.5 * len(curves) + 0.4), dpi=100, layout="constrained")
    axes = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, curve) in zip(axes, curves.items(), strict=True):
        axis.fill_between(curve.lengths, curve.low, curve.high, alpha=0.25, linewidth=0)
        axis.plot(curve.lengths, curve.value, "o-", markersize=4)
        for (length, label), style in zip(lengths.items(), _MARKS, strict=False):
            axis.axvline(length, linewidth=1.2, label=label, **style)
        axis.set_title(name, fontsize=10, loc="left")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    axes[-1].set_xlabel("flow steps")
    return layout.framed(
        plotting.render(figure),
        "Sample quality by length of the flow (as Fig. 5)",
        f"{naming.provenance(model, seed)}. {num_samples:,} samples, measured along one flow; bands are 95% intervals "
        f"over the draw of the samples.{' ' + note if note else ''}",
    )
