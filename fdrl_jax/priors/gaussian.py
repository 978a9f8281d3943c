"""The data-dependent prior (DDP, Eq. 8 of arXiv 2303.03714): a Gaussian fitted to the training images."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from fdrl_jax.priors.cholesky import cholesky_in_place
from fdrl_jax.priors.example_blocks import Examples
from fdrl_jax.priors.streaming_covariance import moments
from fdrl_jax.types import InputError, Keys, Particles
from fdrl_jax.utils import rng


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gaussian:
    """N(mean, factor factor^T), with draws clipped to [-clip, clip] (the authors clip to [-1, 1]).

    Attributes:
      mean: the mean, [*event] float32.
      factor: any root of the covariance of the flattened event, [D, D] float32; `fit_gaussian` computes the lower
        Cholesky factor.
      clip: bound of the draws, or None not to clip them.
      spread: True if the rows of `factor` are sharded over several devices; see `priors.place`.
    """

    mean: Float[Array | np.ndarray, "*event"]
    factor: Float[Array | np.ndarray, "d d"]
    clip: float | None = field(default=1.0, metadata={"static": True})
    spread: bool = field(default=False, metadata={"static": True})

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.mean.shape

    def sample(self, keys: Keys) -> Particles:
        """Return one draw for each key, [batch, *event] float32."""
        return self.from_normal(rng.normal(keys, (self.normal_size,)))

    @property
    def normal_size(self) -> int:
        """The number of values in a row of `from_normal`."""
        return self.mean.size

    def from_normal(self, z: Float[Array | np.ndarray, "batch d"]) -> Particles:
        """Return mean + factor z, clipped: draws if z is standard normal."""
        # By default a TPU multiplies in bfloat16, which loses the small eigenvalues.
        flat = jnp.matmul(jnp.asarray(z), self.factor.T, precision=jax.lax.Precision.HIGHEST)
        x = jnp.add(self.mean[None], flat.reshape(-1, *self.event_shape))
        return x if self.clip is None else jnp.clip(x, -self.clip, self.clip)


def condition(prior: Gaussian, x: Particles, known: Particles, mask: Bool[np.ndarray, "..."]) -> Particles:
    """Turn draws of a prior into draws of its conditional distribution, some values being known.

    An inpainting flow starts from such draws. They are computed by Matheron's rule, x + C_.k C_kk^-1 (known - x) with
    the covariance C and the known values k (Journel and Huijbregts, Mining Geostatistics, 1978), which is exact for
    draws that were not clipped.

    Args:
      prior: a Gaussian with its exact factor.
      x: draws of the prior, [batch, *event].
      known: the known values, [batch, *event]; values outside the mask are ignored.
      mask: boolean [*event], True where a value is known.

    Returns:
      Draws [batch, *event]: equal to `known` inside the mask, conditioned on it elsewhere, clipped as the prior is.

    Raises:
      InputError: `mask` does not have the shape of one event, or `known` not that of `x`.

    >>> slanted = Gaussian(np.zeros(2, np.float32), np.array([[1, 0], [0.8, 0.6]], np.float32), clip=None)
    >>> condition(slanted, jnp.zeros((1, 2)), jnp.array([[2.0, 9.0]]), np.array([True, False])).round(4).tolist()
    [[2.0, 1.600000023841858]]
    """
    mask = np.asarray(mask)
    if mask.shape != prior.event_shape or known.shape != x.shape:
        raise InputError(
            f"mask has shape {list(mask.shape)} and must be of one event, {list(prior.event_shape)}; known has shape "
            f"{list(known.shape)} and must have that of x, {list(x.shape)}"
        )
    flat_mask = mask.ravel()
    # The smallest change of z that produces the known values: the pseudoinverse of factor_k times the differences.
    difference = (known - x).reshape(len(x), -1)[:, flat_mask]
    change = jnp.linalg.lstsq(jnp.asarray(prior.factor)[flat_mask], difference.T)[0]
    conditioned = x + jnp.matmul(prior.factor, change, precision=jax.lax.Precision.HIGHEST).T.reshape(x.shape)
    conditioned = conditioned if prior.clip is None else jnp.clip(conditioned, -prior.clip, prior.clip)
    return jnp.where(mask[None], known, conditioned)


def fit_gaussian(data: Examples, jitter: float = 1e-4, clip: float | None = 1.0, progress: bool = False) -> Gaussian:
    """Fit the exact maximum-likelihood Gaussian to `data`, with `jitter` added to the covariance's diagonal.

    The mean, the biased covariance (divided by n) + jitter I, and its Cholesky factor are computed in one pass over the
    data and with one [D, D] array in memory. Mean and factor are numpy arrays; `priors.place` puts them on devices.

    Float32 keeps the effect of the default jitter, also if there are fewer images than values:
    `benchmarks.speed.prior` prints the smallest pivot. But if many pixels copy one another exactly, as in images
    enlarged from a few black and white cells, the rounding errors of the copies are equal and add up: such images need
    more jitter.

    Args:
      data: training examples [n, *event], uint8 pixels or floats in [-1, 1], neither flipped nor dequantised; anything
        that can be sliced, such as a memory map.
      jitter: variance added to every pixel, which keeps the factorisation possible if a pixel never changes.
      clip: bound of the draws, or None; see `Gaussian`.
      progress: show progress bars.

    Raises:
      InputError: there are no examples, values that are not finite, or the covariance is not positive definite.
    """
    mean, factor = moments(data, progress=progress)
    factor[np.diag_indices_from(factor)] += jitter
    try:
        cholesky_in_place(factor, progress=progress)
    except np.linalg.LinAlgError:
        raise InputError(
            f"the covariance of the data is not positive definite with prior.jitter = {jitter}: use a larger jitter"
        ) from None
    return Gaussian(mean.reshape(data.shape[1:]).astype(np.float32), factor, clip)
