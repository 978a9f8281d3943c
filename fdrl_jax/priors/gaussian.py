"""The data-dependent prior (DDP, Eq. 8 of arXiv 2303.03714): a Gaussian fitted to the training images."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdrl_jax import rng
from fdrl_jax.types import InputError, Keys, Particles


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Gaussian:
    """N(mean, factor factor^T), its draws clipped to [-clip, clip] (the authors clip to [-1, 1]).

    Attributes:
      mean: [*event] float32.
      factor: lower Cholesky factor of the covariance of the flattened event, [D, D] float32.
      clip: None draws from the Gaussian itself.
    """

    mean: Float[Array, "*event"]
    factor: Float[Array, "d d"]
    clip: float | None = field(default=1.0, metadata={"static": True})

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.mean.shape

    def sample(self, keys: Keys) -> Particles:
        """Draws [batch, *event] float32, one a key."""
        z = rng.normal(keys, (self.mean.size,))
        # HIGHEST: by default a TPU multiplies in bfloat16, which loses the small eigenvalues.
        flat = jnp.matmul(z, self.factor.T, precision=jax.lax.Precision.HIGHEST)
        x = self.mean[None] + flat.reshape(-1, *self.mean.shape)
        return x if self.clip is None else jnp.clip(x, -self.clip, self.clip)


def fit_gaussian(data: Float[np.ndarray, "n *event"], jitter: float = 1e-4, clip: float | None = 1.0) -> Gaussian:
    """The exact maximum-likelihood Gaussian of `data`, plus `jitter` on the covariance's diagonal.

    Mean, biased covariance (divided by n) + jitter I, and its Cholesky factor, all in float64 and
    rounded to float32 at the end.

    Args:
      data: training examples, pixels in [-1, 1], neither flipped nor dequantised.
      jitter: keeps the factorisation possible where a pixel never changes.
      clip: see `Gaussian`.

    Raises:
      InputError: no examples, non-finite values, or a covariance that is not positive definite.
    """
    if not data.size or not np.isfinite(data).all():
        raise InputError(f"the Gaussian prior cannot be fitted: data of shape {data.shape} is empty or not finite")
    flat = np.asarray(data, np.float64).reshape(len(data), -1)
    mean = flat.mean(axis=0)
    centred = flat - mean
    covariance = centred.T @ centred / len(flat) + jitter * np.eye(flat.shape[1])
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise InputError(
            f"the covariance of the data is not positive definite with prior.jitter = {jitter}: use a larger jitter"
        ) from None
    return Gaussian(jnp.asarray(mean.reshape(data.shape[1:]), jnp.float32), jnp.asarray(factor, jnp.float32), clip)
