"""Diagnostics of a run while it trains: metrics against held-out data, histograms of the ratio, progress of the flow.

WORKDIR/diagnostics.jsonl has one JSON object a line, from the same prior draws and noise each time:

    step        number of updates so far
    reference   the data that the metrics compare with
    metrics     images: precision, recall (k = 3) and Frechet distance in pixels (0..255); points: sliced_wasserstein
    flow        steps: flow steps k; kl: mean of log r over the particles after k steps; displacement: mean
                Euclidean distance that a particle moves in one step, in units of the data
    histogram   counts of log10 r between edges, of data, flowed particles and prior draws; values beyond the edges
                count in the outermost bins
    seconds     duration of the measurement

The KL divergence is that of the flowed particles from the data, KL(q_k || p) = E_q_k[log q_k / p], with r in place of
q_k / p. Only the value at the end of the flow is an estimate, because r is trained to be q~ / p there; earlier values
show how the ratio judges particles on their way. A method without a ratio has neither `flow` nor `histogram`.
"""

import time
from typing import Any

import jax
import numpy as np

from fdrl_jax import data
from fdrl_jax.evaluation import metrics as ev
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import Model
from fdrl_jax.inference.sampling import trajectory
from fdrl_jax.types import DivergedError
from fdrl_jax.utils import rng, sharding
from fdrl_jax.utils.pixel_scaling import to_float, to_uint8

# This many states of the flow are enough to draw a curve, and few enough to keep in memory for large images.
_STATES = 30

# Batches are small because all kept states of a batch are in memory.
_BATCH_SIZE = 128

# Bin edges of log10 r. A network of r (LSIF) may give values below 0, which count in the lowest bin.
_EDGES = np.linspace(-4, 4, 161)

# Up to this many values in an image, the Frechet distance in pixels takes less than a second. For larger images it is
# measured only where the best checkpoint is chosen by it.
_FRECHET_DIMENSION = 1024

HIGHER_IS_BETTER = {"precision", "recall"}


class Diagnostics:
    """Measures a run, each time with the same reference data, draws and settings."""

    def __init__(self, experiment: builders.Experiment, dataset: data.Dataset, progress: bool = False):
        """Read the reference data. `experiment.config` must have a group `diagnostics`."""
        config = experiment.config
        self.every: int = config["diagnostics"]["every"]
        self.best: str = config["diagnostics"]["best"]
        self._count = config["diagnostics"]["num_samples"]
        self._key = rng.stream(jax.random.key(config["seed"]), "diagnostics")
        name = builders.dataset_name(experiment)
        if isinstance(dataset, data.ArrayDataset):
            held_out = builders.held_out(experiment, progress)
            images = dataset.examples if held_out is None else held_out
            self._reference = f"{'training' if held_out is None else 'held-out'} images of {name}"
            chosen = np.random.default_rng(0).permutation(len(images))[: self._count]
            self._data = images[np.sort(chosen)]
        else:
            self._reference = f"fresh draws of {name}"
            # The same stream as training's, at a step that it does not reach.
            self._data = dataset.batch(config["seed"], 2**31 - 1, self._count)

    def measure(self, model: Model) -> dict[str, Any]:
        """Measure a model: one line of diagnostics.jsonl.

        Raises:
          DivergedError: the flow's particles are not finite.
        """
        start = time.perf_counter()
        length = model.experiment.flow_length()
        steps, states = trajectory(
            model, self._key, self._count, max(1, length // _STATES), length, _BATCH_SIZE, progress=False
        )
        if not np.isfinite(states).all():
            raise DivergedError(f"the flow diverged: samples of step {model.step} are not finite", model.step)
        row = {
            "step": model.step,
            "reference": self._reference,
            "metrics": self._metrics(states[-1]),
        }
        if model.experiment.method.parameterisation is not None:
            row |= self._ratio(model, steps, states)
        return {**row, "seconds": round(time.perf_counter() - start, 2)}

    def _ratio(self, model: Model, steps: np.ndarray, states: np.ndarray) -> dict[str, Any]:
        """The progress of the flow, and histograms of the ratio."""
        log_ratio = np.stack([_log_ratio(model, x) for x in states])
        moved = np.linalg.norm(np.diff(states, axis=0).reshape(len(states) - 1, self._count, -1), axis=-1).mean(axis=1)
        on_data = _log_ratio(model, to_float(self._data) if model.experiment.is_image else self._data)
        return {
            "flow": {
                "steps": steps.tolist(),
                "kl": log_ratio.mean(axis=1).tolist(),
                "displacement": [0.0, *(moved / np.diff(steps)).tolist()],
            },
            "histogram": {
                "edges": _EDGES.tolist(),
                "data": _counts(on_data),
                "flowed": _counts(log_ratio[-1]),
                "prior": _counts(log_ratio[0]),
            },
        }

    def _metrics(self, samples: np.ndarray) -> dict[str, float]:
        if samples.ndim == 2:
            count = min(len(samples), len(self._data))
            return {"sliced_wasserstein": ev.sliced_wasserstein(self._data[:count], samples[:count])}
        found = dict(ev.precision_recall(self._data, to_uint8(samples))._asdict())
        flat, reference = (x.reshape(len(x), -1) for x in (to_uint8(samples), self._data))
        if flat.shape[1] <= _FRECHET_DIMENSION or self.best == "frechet":
            a, b = ev.Moments([flat]), ev.Moments([reference])
            found["frechet"] = ev.frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
        return found


def better(metric: str, value: float, than: float | None) -> bool:
    """Return True if `value` of a metric is an improvement over `than`."""
    return than is None or (value > than if metric in HIGHER_IS_BETTER else value < than)


def _log_ratio(model: Model, x: np.ndarray) -> np.ndarray:
    """Natural log of r, clipped to the range of the histogram."""
    bounds = 10.0 ** _EDGES[[0, -1]]
    ratios = [
        sharding.fetch(model.ratio_fn(sharding.replicate(x[i : i + _BATCH_SIZE])))
        for i in range(0, len(x), _BATCH_SIZE)
    ]
    return np.log(np.clip(np.concatenate(ratios).astype(np.float64), *bounds))


def _counts(log_ratio: np.ndarray) -> list[int]:
    return np.histogram(log_ratio / np.log(10), _EDGES)[0].tolist()
