"""Fig. 12 and 13: nearest training images of samples, and a test for copies of training images."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from fdrl_jax.evaluation.features import Features, pixels
from fdrl_jax.evaluation.figures import layout
from fdrl_jax.evaluation.figures.neighbour_search import nearest
from fdrl_jax.experiment.model import Model
from fdrl_jax.experiment.naming import provenance
from fdrl_jax.types import InputError
from fdrl_jax.utils import plotting
from fdrl_jax.utils.pixel_scaling import to_float, to_uint8
from fdrl_jax.utils.plotting import Picture

Pixels = UInt8[np.ndarray, "_n _h _w _c"]
Images = Float[np.ndarray, "n h w c"]

# A sample is called near if its nearest training image is nearer than that of the nearest 1% of real images.
PERCENTILE = 1.0


class Memorisation(NamedTuple):
    """Distances of samples, and of real images, to the training images.

    Attributes:
      distances: distances of each sample to its k nearest training images, the nearest first, in units of the feature
        space.
      indices: indices of these training images.
      reference: distance of each real image to its nearest training image.
      threshold: the `PERCENTILE`-th percentile of `reference`.
      share: share of the samples that are nearer to a training image than `threshold`. About `PERCENTILE` in 100 for
        samples as far from the training images as fresh images are; far more if training images were memorised.
      leave_one_out: True if `reference` compares training images with the other training images, because there were no
        held-out images.
      features: name of the feature space.
      protocol: everything that a distance in this space depends on; see `Features.protocol`.
    """

    distances: Float[np.ndarray, "n k"]
    indices: Int[np.ndarray, "n k"]
    reference: Float[np.ndarray, " m"]
    threshold: float
    share: float
    leave_one_out: bool
    features: str
    protocol: str


def memorisation(
    samples: Images,
    training: Pixels,
    held_out: Pixels | None = None,
    features: Features | None = None,
    k: int = 10,
    mirrored: bool = False,
    most: int = 10_000,
    seed: int = 0,
) -> Memorisation:
    """Find the nearest training images of samples, and of real images that the model was not trained on.

    Args:
      samples: images in [-1, 1]; rounded to uint8, as a file would hold them.
      training: all images that the model was trained on; may be a memory map.
      held_out: real images that the model was not trained on; None to compare training images with the other ones.
      features: the feature space; pixels by default.
      k: number of neighbours of each sample.
      mirrored: True to count the mirror image of a training image too; for models trained with flips.
      most: largest number of real images; if there are more, a random choice is used.
      seed: seed of that choice.

    Raises:
      InputError: there are no samples, or no more than k training images.
    """
    features = features or pixels()
    if len(training) <= k or not len(samples):
        raise InputError(
            f"k = {k} nearest neighbours need a sample and more than {k} training images: there are {len(samples)} "
            f"samples and {len(training)} training images"
        )
    real = training if held_out is None else held_out
    chosen = np.sort(np.random.default_rng(seed).permutation(len(real))[:most])
    # Features may be expensive, so samples and real images share one pass over the training images.
    queries = np.concatenate([to_uint8(samples), real[chosen]])
    itself = np.full(len(queries), -1)
    if held_out is None:
        itself[len(samples) :] = chosen
    neighbours = nearest(queries, training, k, features, mirrored, itself)
    distances, reference = neighbours.distances[: len(samples)], neighbours.distances[len(samples) :, 0]
    threshold = float(np.percentile(reference, PERCENTILE))
    return Memorisation(
        distances,
        neighbours.indices[: len(samples)],
        reference,
        threshold,
        share=float((distances[:, 0] < threshold).mean()),
        leave_one_out=held_out is None,
        features=features.name,
        protocol=features.protocol,
    )


def neighbours_picture(
    model: Model, samples: Images, training: Pixels, found: Memorisation, seed: int, rows: int = 10
) -> Picture:
    """Draw Fig. 12 and 13: samples left of a red line, and right of it their nearest training images, nearest first.

    Args:
      model: the model, for the caption.
      samples, training: the arguments of `memorisation`.
      found: the result of `memorisation`.
      seed: the sampling seed, for the caption.
      rows: number of samples to show, from the first on.
    """
    rows = min(rows, len(samples))
    k = found.indices.shape[1]
    near = to_float(training[found.indices[:rows].ravel()])
    left, right = plotting.image_grid(samples[:rows], 1), plotting.image_grid(near, k)
    line = np.full((left.shape[0], 2, 3), (220, 0, 0), np.uint8)
    body = layout.enlarged(np.concatenate([left, line, right], axis=1), 760)
    return layout.framed(
        body,
        "Nearest training images of samples (as Fig. 12)",
        f"{provenance(model, seed)}. Left of the red line the first {rows} samples of the seed; right of it the {k} "
        f"nearest of {len(training):,} training images, the nearest first, by Euclidean distance in "
        f"{_space(found)}.",
    )


def _space(found: Memorisation) -> str:
    return found.protocol if found.features in found.protocol else f"{found.features} ({found.protocol})"


def distances_picture(model: Model, found: Memorisation, seed: int) -> Picture:
    """Draw the distances of samples and of real images to their nearest training image.

    The left panel has histograms, the right one the share of images below each distance.

    Args:
      model: the model, for the caption.
      found: the result of `memorisation`.
      seed: the sampling seed, for the caption.
    """
    real = "training images to the other ones (leave one out)" if found.leave_one_out else "held-out images"
    sets = {real: ("tab:blue", found.reference), "samples": ("tab:orange", found.distances[:, 0])}
    figure = Figure(figsize=(9.6, 3.8), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    everything = np.concatenate([values for _, values in sets.values()])
    lowest = everything.min()
    bins = np.linspace(lowest, max(np.quantile(everything, 0.999), lowest + 1e-9), 41)
    for name, (colour, values) in sets.items():
        left.hist(values, bins, density=True, alpha=0.5, color=colour, label=f"{name} ({len(values):,})")
        right.step(np.sort(values), np.arange(1, len(values) + 1) / len(values), color=colour, where="post")
    for axis in (left, right):
        label = f"nearest 1% of real images: {found.threshold:.4g}"
        axis.axvline(found.threshold, color="black", linestyle=":", linewidth=1.2, label=label)
        axis.set(xlabel=f"distance to the nearest training image, {found.features}", xlim=(bins[0], bins[-1]))
        axis.xaxis.label.set_fontsize(9)
    left.set_ylabel("density")
    right.set_ylabel("share below")
    right.grid(alpha=0.3)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8)
    reference_note = (
        " There were no held-out images, so training images are compared with the other training images instead."
        if found.leave_one_out
        else ""
    )
    return layout.framed(
        plotting.render(figure),
        "Are samples copies of training images? (with Fig. 12)",
        f"{provenance(model, seed)}. {found.share:.1%} of the samples are nearer to a training image than the nearest "
        f"{PERCENTILE:g}% of real images are. Fresh images would give {PERCENTILE:g}%; far more is a sign of copying. "
        f"A whole curve further to the left need not be one: smoother images are nearer to everything. Distances are "
        f"Euclidean in {_space(found)}.{reference_note}",
    )
