"""The distribution of a generator's outputs: the source q' of sample refinement (section 4.1 of arXiv 2303.03714)."""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax

from fdrl_jax.types import Keys, Params, Particles
from fdrl_jax.utils import rng


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GeneratorPrior:
    """The distribution of decode(params, z) + noise xi with z, xi ~ N(0, I): a GAN's generator, a VAE's decoder.

    Attributes:
      params: parameters of the generator.
      decode: function (params, latent codes [batch, *latent_shape]) -> particles [batch, *event_shape], where each
        particle depends on its own code alone.
      latent_shape: shape of one latent code.
      event_shape: shape of one particle.
      noise: standard deviation of Gaussian noise added to a draw, in units of the particles. A ratio that is fitted
        between data and a generator needs some noise on both; without it, details that no eye can see tell the two
        apart.
    """

    params: Params
    decode: Callable[[Params, Particles], Particles] = field(metadata={"static": True})
    latent_shape: tuple[int, ...] = field(metadata={"static": True})
    event_shape: tuple[int, ...] = field(metadata={"static": True})
    noise: float = field(default=0.0, metadata={"static": True})

    def latents(self, keys: Keys) -> Particles:
        """Return the latent codes that `sample(keys)` decodes, float32 [batch, *latent_shape]."""
        return rng.normal(keys, self.latent_shape)

    def sample(self, keys: Keys) -> Particles:
        """Return one draw for each key, [batch, *event_shape]."""
        x = self.decode(self.params, self.latents(keys))
        if not self.noise:
            return x
        return x + self.noise * rng.normal(rng.fold_in(keys, 1), self.event_shape)
