"""Draws of a prior, in training and in sampling: on all devices, or by the host ahead of time."""

from functools import partial
from typing import Any

from jax.sharding import Mesh
from jaxtyping import Array, Key

from fdrl_jax.methods.base import Batch
from fdrl_jax.priors import FixedImages, Gaussian, HostGaussian, LowRankGaussian, Precomputed, Prior
from fdrl_jax.types import Keys, Particles
from fdrl_jax.utils import rng, sharding
from fdrl_jax.utils.compilation import Program
from fdrl_jax.utils.pixel_scaling import to_float


def dequantized(keys: Keys, batch: Batch, sigma: float) -> Particles:
    """A batch as floats, images in [-1, 1], plus Gaussian noise of standard deviation `sigma`."""
    x = to_float(batch)
    return x + sigma * rng.normal(keys, x.shape[1:]) if sigma else x


def draw(prior: Prior, keys: Keys, mesh: Mesh) -> Particles:
    """A draw of the prior for each key, split by sample where the devices can share them equally."""
    x = prior.sample(keys)
    if isinstance(prior, (Gaussian, LowRankGaussian)) and prior.spread:
        # Each device makes its rows of all draws. Without this XLA would collect the whole factor on each.
        x = sharding.constrain(x, sharding.REPLICATED, mesh)
    return x if len(x) % mesh.size else sharding.constrain(x, sharding.BY_SAMPLE, mesh)


def prior_of_step(
    prior: Prior | HostGaussian, root: Key[Array, ""], step: int, count: int, mesh: Mesh | None = None
) -> Prior:
    """The prior that a training step takes: one in the host's memory is drawn from here, `count` times for `step`."""
    if not isinstance(prior, HostGaussian):
        return prior
    mine = sharding.host_share(count, mesh)
    keys = rng.per_sample(rng.stream(root, "prior", step), mine.stop - mine.start, mine.start)
    draws: Any = prior.draw(keys)
    return Precomputed(sharding.assemble_by_sample(draws, count, mesh))


def draw_prior(prior: Prior | HostGaussian | FixedImages, root: Key[Array, ""], first: Array, count: int) -> Particles:
    """Prior draws of samples first, ..., first + count - 1 of the sampling run with key `root`."""
    if isinstance(prior, HostGaussian):
        return sharding.shard_by_sample(prior.draw(_prior_keys(root, first, count)))
    first_row = int(first)
    root, first = sharding.replicate((root, first))
    if isinstance(prior, FixedImages):
        return _from_images(sharding.shard_by_sample(prior.rows(first_row, count)), root, first, prior.noise)
    return _draw_prior(prior, root, first, count)


def _prior_keys(root: Key[Array, ""], first: Array, count: int) -> Keys:
    return rng.per_sample(rng.stream(root, "prior"), count, first)


@partial(Program, static_argnames="count")
def _draw_prior(prior: Prior, root: Key[Array, ""], first: Array, count: int) -> Particles:
    return draw(prior, _prior_keys(root, first, count), sharding.mesh())


@partial(Program, static_argnames="sigma")
def _from_images(images: Batch, root: Key[Array, ""], first: Array, sigma: float) -> Particles:
    return dequantized(rng.per_sample(rng.stream(root, "dequantize"), len(images), first), images, sigma)
