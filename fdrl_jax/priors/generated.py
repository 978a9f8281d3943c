"""What a generator makes of Gaussian noise: the source q' of sample refinement (section 4.1 of arXiv 2303.03714)."""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax

from fdrl_jax import rng
from fdrl_jax.types import Keys, Params, Particles


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Generated:
    """The law of decode(params, z) + noise xi with z and xi ~ N(0, I): a GAN's generator, a VAE's decoder.

    Attributes:
      params: of the generator.
      decode: (params, latent codes [batch, *latent_shape]) -> particles [batch, *event_shape], each by itself.
      latent_shape: of one code.
      event_shape: of one particle.
      noise: standard deviation of Gaussian noise added to a draw, in units of the particles: a ratio that is fitted
        between data and a generator needs some on both, or it tells them apart by what no eye sees.
    """

    params: Params
    decode: Callable[[Params, Particles], Particles] = field(metadata={"static": True})
    latent_shape: tuple[int, ...] = field(metadata={"static": True})
    event_shape: tuple[int, ...] = field(metadata={"static": True})
    noise: float = field(default=0.0, metadata={"static": True})

    def latents(self, keys: Keys) -> Particles:
        """The codes behind `sample(keys)`, float32 [batch, *latent_shape]."""
        return rng.normal(keys, self.latent_shape)

    def sample(self, keys: Keys) -> Particles:
        """Draws [batch, *event_shape], one a key."""
        x = self.decode(self.params, self.latents(keys))
        if not self.noise:
            return x
        return x + self.noise * rng.normal(rng.fold_in(keys, 1), self.event_shape)
