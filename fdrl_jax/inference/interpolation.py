"""Latent-space interpolation (Fig. 9 of arXiv 2303.03714): flows that start between two draws of the prior."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from fdrl_jax.experiment.model import Model
from fdrl_jax.priors import Whitened
from fdrl_jax.types import InputError
from fdrl_jax.utils import rng
from fdrl_jax.utils.validation import require_integer, require_model, root_key


def interpolate(
    model: Model, key: Any, num_pairs: int, num_between: int, num_steps: int | None = None
) -> Float[np.ndarray, "pairs between *event"]:
    """Return samples whose starts lie between two draws of the prior.

    A prior draw is a map of a standard normal vector z (`priors.Whitened`): for a Gaussian prior the identity up to
    mean and factor, for a uniform prior the normal distribution function. The starts are on the arc
    `(sin((1 - t) w) z_0 + sin(t w) z_1) / sin w` from z_0 to z_1, where w is the angle between them. The vectors on the
    arc have lengths typical of standard normal vectors; those on a straight line are shorter, and would give starts
    nearer to the mean than any draw. All samples of a pair have the same flow noise, so that along a row only the start
    changes.

    Args:
      model: model that `fdrl_jax.load` or `fdrl_jax.train` returned.
      key: PRNG key (typed or uint32 [2]), or a seed of at least 0. The draws differ from those of `sampling.sample`.
      num_pairs: number of pairs, which are the rows.
      num_between: number of samples of a pair, including its two ends; at least 2.
      num_steps: number of flow steps, by default K + kappa.

    Returns:
      float32 [num_pairs, num_between, *event]: images [H, W, C] clipped to [-1, 1], or points.

    Raises:
      InputError: the prior is a set of images, which cannot be interpolated, or a count is too small.
    """
    require_model(model)
    if not isinstance(model.prior, Whitened):
        raise InputError(
            f"interpolation needs a prior with a density, and this run's is {type(model.prior).__name__}: a set of "
            "images has no draws between two images; use a run with another prior"
        )
    length = model.experiment.flow_length() if num_steps is None else num_steps
    for name, value, minimum in (
        ("num_pairs", num_pairs, 1),
        ("num_between", num_between, 2),
        ("num_steps", length, 0),
    ):
        require_integer(name, value, minimum)
    root = root_key(key)
    start, end = (
        np.asarray(
            rng.normal(rng.per_sample(rng.stream(root, "interpolation", i), num_pairs), (model.prior.normal_size,))
        )
        for i in range(2)
    )
    columns = []
    for z in spherical(start, end, np.linspace(0, 1, num_between)):
        x = jnp.array(model.prior.from_normal(z))
        # Every column starts from sample 0 and step 0, so that row i has the noise of sample i in all columns.
        first = step = jnp.asarray(0)
        columns.append(np.asarray(model.experiment.method.advance(model.params, root, x, first, step, length)))
    images = np.stack(columns, axis=1)
    return np.clip(images, -1, 1) if model.experiment.is_image else images


def spherical(
    start: Float[np.ndarray, "n d"], end: Float[np.ndarray, "n d"], t: Float[np.ndarray, " between"]
) -> Float[np.ndarray, "between n d"]:
    """Return points of the arc from `start` (t = 0) to `end` (t = 1); of a straight line if the two are parallel."""
    lengths = np.linalg.norm(start, axis=1) * np.linalg.norm(end, axis=1)
    cosine = (start * end).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    angle = np.arccos(np.clip(cosine, -1, 1))[None, :, None].astype(np.float64)
    t = t[:, None, None]
    straight = np.sin(angle) < 1e-6
    sine = np.where(straight, 1, np.sin(angle))
    left = np.where(straight, 1 - t, np.sin((1 - t) * angle) / sine)
    right = np.where(straight, t, np.sin(t * angle) / sine)
    return (left * start[None] + right * end[None]).astype(start.dtype)
