"""Images of another domain as the source of the flow: unpaired image-to-image translation (section 5.3)."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from fdrl_jax import rng
from fdrl_jax.pixels import to_float
from fdrl_jax.types import Keys, Particles


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Empirical:
    """The empirical law of `images`: one of them at random, with replacement, plus noise.

    Attributes:
      images: uint8 [n, H, W, C].
      noise: standard deviation of Gaussian noise added to the pixels in [-1, 1], not clipped after. The authors add
        it to both domains; the paper is silent.
      flip: mirror each draw left to right with probability 1/2.
    """

    images: UInt8[Array | np.ndarray, "n h w c"]
    noise: float = field(default=0.0, metadata={"static": True})
    flip: bool = field(default=False, metadata={"static": True})

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.images.shape[1:]

    def sample(self, keys: Keys) -> Particles:
        """Draws [batch, H, W, C] float32, one a key."""
        index, mirrored, noise = (rng.fold_in(keys, i) for i in range(3))
        chosen = jax.vmap(lambda key: jax.random.randint(key, (), 0, len(self.images)))(index)
        x = to_float(jnp.asarray(self.images)[chosen])
        if self.flip:
            x = jnp.where(jax.vmap(jax.random.bernoulli)(mirrored)[:, None, None, None], x[:, :, ::-1], x)
        return x + self.noise * rng.normal(noise, self.event_shape) if self.noise else x
