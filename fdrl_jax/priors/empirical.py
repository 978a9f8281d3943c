"""Images of another domain as the source of the flow: unpaired image-to-image translation (section 5.3)."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt8

from fdrl_jax.types import Keys, Particles
from fdrl_jax.utils import rng
from fdrl_jax.utils.pixel_scaling import to_float


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Empirical:
    """The empirical distribution of `images`: one of them, drawn uniformly with replacement, plus noise.

    Attributes:
      images: the images, uint8 [n, H, W, C].
      noise: standard deviation of Gaussian noise added to the pixels in [-1, 1], not clipped after. The authors' code
        adds it to both domains; the paper does not mention it.
      flip: mirror each draw left to right with probability 1/2.
    """

    images: UInt8[Array | np.ndarray, "n h w c"]
    noise: float = field(default=0.0, metadata={"static": True})
    flip: bool = field(default=False, metadata={"static": True})

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.images.shape[1:]

    def sample(self, keys: Keys) -> Particles:
        """Return one draw for each key, [batch, H, W, C] float32."""
        index_keys, flip_keys, noise_keys = (rng.fold_in(keys, i) for i in range(3))
        indices = jax.vmap(lambda key: jax.random.randint(key, (), 0, len(self.images)))(index_keys)
        x = to_float(jnp.asarray(self.images)[indices])
        if self.flip:
            x = jnp.where(jax.vmap(jax.random.bernoulli)(flip_keys)[:, None, None, None], x[:, :, ::-1], x)
        return x + self.noise * rng.normal(noise_keys, self.event_shape) if self.noise else x
