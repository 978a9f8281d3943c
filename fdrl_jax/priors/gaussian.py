"""The data-dependent prior (DDP, Eq. 8 of arXiv 2303.03714): a Gaussian fitted to the training images."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from fdrl_jax import rng
from fdrl_jax.priors.cholesky import cholesky_in_place
from fdrl_jax.priors.covariance import moments
from fdrl_jax.priors.streaming import Examples
from fdrl_jax.types import InputError, Keys, Particles


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gaussian:
    """N(mean, factor factor^T), its draws clipped to [-clip, clip] (the authors clip to [-1, 1]).

    Attributes:
      mean: [*event] float32.
      factor: any root of the covariance of the flattened event, [D, D] float32; a fit gives the lower Cholesky factor.
      clip: None draws from the Gaussian itself.
      spread: whether the large array lies in parts on several devices; see `priors.place`.
    """

    mean: Float[Array | np.ndarray, "*event"]
    factor: Float[Array | np.ndarray, "d d"]
    clip: float | None = field(default=1.0, metadata={"static": True})
    spread: bool = field(default=False, metadata={"static": True})

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.mean.shape

    def sample(self, keys: Keys) -> Particles:
        """Draws [batch, *event] float32, one a key."""
        return self.from_normal(rng.normal(keys, (self.normal_size,)))

    @property
    def normal_size(self) -> int:
        """Values in a row of `from_normal`."""
        return self.mean.size

    def from_normal(self, z: Float[Array | np.ndarray, "batch d"]) -> Particles:
        """mean + factor z, clipped: draws where z is standard normal."""
        # HIGHEST: by default a TPU multiplies in bfloat16, which loses the small eigenvalues.
        flat = jnp.matmul(jnp.asarray(z), self.factor.T, precision=jax.lax.Precision.HIGHEST)
        x = jnp.add(self.mean[None], flat.reshape(-1, *self.event_shape))
        return x if self.clip is None else jnp.clip(x, -self.clip, self.clip)


def condition(prior: Gaussian, x: Particles, known: Particles, mask: Bool[np.ndarray, "..."]) -> Particles:
    """Draws of a prior, moved to be draws of it given some of their values: where an inpainting flow starts.

    Matheron's rule: x + C_.k C_kk^-1 (known - x), with the covariance C and k the known values (Journel and Huijbregts,
    Mining Geostatistics, 1978). Exact for draws that were not clipped.

    Args:
      prior: with its exact factor.
      x: its draws [batch, *event].
      known: [batch, *event]; its values outside the mask do not matter.
      mask: [*event], True where a value is known.

    Returns:
      [batch, *event]: `known` where the mask is, and what goes with it elsewhere, clipped as the prior is.

    >>> slanted = Gaussian(np.zeros(2, np.float32), np.array([[1, 0], [0.8, 0.6]], np.float32), clip=None)
    >>> condition(slanted, jnp.zeros((1, 2)), jnp.array([[2.0, 9.0]]), np.array([True, False])).round(4).tolist()
    [[2.0, 1.600000023841858]]
    """
    mask = np.asarray(mask)
    if mask.shape != prior.event_shape or known.shape != x.shape:
        raise InputError(
            f"mask {list(mask.shape)} must be of one event {list(prior.event_shape)}, known {list(known.shape)} as x"
        )
    held = mask.ravel()
    # The smallest change of z that gives the known values: factor_k's pseudoinverse times what is missing.
    missing = (known - x).reshape(len(x), -1)[:, held]
    change = jnp.linalg.lstsq(jnp.asarray(prior.factor)[held], missing.T)[0]
    moved = x + jnp.matmul(prior.factor, change, precision=jax.lax.Precision.HIGHEST).T.reshape(x.shape)
    moved = moved if prior.clip is None else jnp.clip(moved, -prior.clip, prior.clip)
    return jnp.where(mask[None], known, moved)


def fit_gaussian(data: Examples, jitter: float = 1e-4, clip: float | None = 1.0, progress: bool = False) -> Gaussian:
    """The exact maximum-likelihood Gaussian of `data`, plus `jitter` on the covariance's diagonal.

    Mean, biased covariance (divided by n) + jitter I, and its Cholesky factor, in one pass over the data and with
    one [D, D] array in memory. Mean and factor are numpy arrays, to be put where they are used: `priors.place`.

    Float32 leaves the default jitter intact, also where there are fewer images than values: `benchmarks.prior` prints
    the smallest pivot. But where many pixels copy one another exactly, as in images enlarged from a few black and
    white cells, the rounding of the copies is alike and adds up: those need more jitter.

    Args:
      data: training examples [n, *event], uint8 pixels or floats in [-1, 1], neither flipped nor dequantised; anything
        that can be sliced, a memory map for one.
      jitter: keeps the factorisation possible where a pixel never changes.
      clip: see `Gaussian`.
      progress: show progress bars.

    Raises:
      InputError: no examples, non-finite values, or a covariance that is not positive definite.
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
