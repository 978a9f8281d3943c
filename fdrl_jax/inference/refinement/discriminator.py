"""The ratio of a generator to the data, from the generator's discriminator."""

from collections.abc import Callable

from jaxtyping import Array, Float

from fdrl_jax.types import Particles, RatioFn


def discriminator_ratio(logits: Callable[[Particles], Float[Array, " batch"]]) -> RatioFn:
    """Return log r = -d, where d are the logits of a discriminator that was trained to output 1 on data, 0 on samples.

    >>> import jax.numpy as jnp
    >>> discriminator_ratio(lambda x: 2 * x[:, 0])(jnp.array([[3.0]])).tolist()
    [-6.0]
    """
    return lambda x: -logits(x)
