"""Evaluate a compiled network on any number of images, in batches of one fixed size."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdrl_jax.types import Images


def in_batches(
    function: Callable[[Array], Float[Array, "batch d"]], images: Images, batch_size: int, dimension: int
) -> Float[np.ndarray, "n d"]:
    """Return the rows of `function` for all images, grey or colour.

    Every call has `batch_size` images, the last one padded with zeros, so that the function is compiled once.

    Args:
      function: function from [batch_size, H, W, 3], in the images' dtype, to [batch_size, dimension].
      images: [n, H, W, 1 or 3]; one channel is repeated three times.
      batch_size: number of images in a call.
      dimension: number of columns of the result.
    """
    parts = []
    pending: Array | None = None
    for first in range(0, len(images), batch_size):
        batch = images[first : first + batch_size]
        batch = np.pad(batch, ((0, batch_size - len(batch)), (0, 0), (0, 0), (0, 0)))
        result = function(jnp.asarray(np.broadcast_to(batch, (*batch.shape[:3], 3))))
        # The device computes this batch while the result of the last one is copied to the host.
        if pending is not None:
            parts.append(np.asarray(pending))
        pending = result
    if pending is None:
        return np.zeros((0, dimension), np.float32)
    return np.concatenate([*parts, jax.device_get(pending)])[: len(images)]
