"""Interpolation between draws of the prior (Fig. 9 of arXiv 2303.03714): the flow from the points of an arc."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from fdrl_jax import rng, steps
from fdrl_jax.arguments import require_integer, require_model, root_key
from fdrl_jax.priors import Whitened
from fdrl_jax.sampling import Model
from fdrl_jax.types import InputError


def interpolate(
    model: Model, key: Any, num_pairs: int, num_between: int, num_steps: int | None = None
) -> Float[np.ndarray, "pairs between *event"]:
    """Samples on the way from one prior draw to another.

    A prior draw is a map of a standard normal vector z (`priors.Whitened`): the identity up to mean and factor for a
    Gaussian, the normal distribution function for a uniform prior. Between z_0 and z_1 the arc
    `(sin((1 - t) w) z_0 + sin(t w) z_1) / sin w`, w the angle between them, keeps to the lengths that such vectors
    have; a straight line passes through shorter ones, which are nearer to the mean than any draw. All samples of a pair
    have the same flow noise, so that what changes along a row is the start alone.

    Args:
      model: from `loading.load`.
      key: a PRNG key (new-style or uint32 [2]), or a seed of at least 0. Draws are not those of `sampling.sample`.
      num_pairs: rows.
      num_between: columns, the two ends included; at least 2.
      num_steps: length of the flow; K + kappa by default.

    Returns:
      float32 [num_pairs, num_between, *event]: images [H, W, C] clipped to [-1, 1], or points.

    Raises:
      InputError: the prior is a set of images, with nothing between them; or a count is too small.
    """
    require_model(model)
    if not isinstance(model.prior, Whitened):
        raise InputError(
            f"interpolation needs a prior with a density, and this run's is {type(model.prior).__name__}: the images "
            "of a source domain have nothing between them"
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
    rows = []
    for z in spherical(start, end, np.linspace(0, 1, num_between)):
        x = jnp.array(model.prior.from_normal(z))
        # Row i is sample i at every call: the same keys, so the same noise.
        first = step = jnp.asarray(0)
        rows.append(np.asarray(steps.advance(model.experiment.recipe, model.params, root, x, first, step, length)))
    images = np.stack(rows, axis=1)
    return np.clip(images, -1, 1) if model.experiment.is_image else images


def spherical(
    start: Float[np.ndarray, "n d"], end: Float[np.ndarray, "n d"], t: Float[np.ndarray, " between"]
) -> Float[np.ndarray, "between n d"]:
    """Points of the arc from `start` (t = 0) to `end` (t = 1); a straight line where they have one direction."""
    lengths = np.linalg.norm(start, axis=1) * np.linalg.norm(end, axis=1)
    cosine = (start * end).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    angle = np.arccos(np.clip(cosine, -1, 1))[None, :, None].astype(np.float64)
    t = t[:, None, None]
    straight = np.sin(angle) < 1e-6
    sine = np.where(straight, 1, np.sin(angle))
    left = np.where(straight, 1 - t, np.sin((1 - t) * angle) / sine)
    right = np.where(straight, t, np.sin(t * angle) / sine)
    return (left * start[None] + right * end[None]).astype(start.dtype)
