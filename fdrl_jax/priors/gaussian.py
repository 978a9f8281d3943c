"""The data-dependent prior (DDP, Eq. 8 of arXiv 2303.03714): a Gaussian fitted to the training images."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

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
