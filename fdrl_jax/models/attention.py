"""Self-attention over the pixels of a feature map (SAGAN, Zhang et al., arXiv 1805.08318)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fdrl_jax.models.layers import Conv
from fdrl_jax.types import InputError


class Attention(nn.Module):
    """Self-attention with a residual connection, x + gamma * attended: [batch, h, w, c] -> [batch, h, w, c].

    Key, query and value are 1x1 convolutions to c // 8 channels, and a fourth one maps the result back to c; all have
    biases. The softmax runs over the keys, with no 1 / sqrt(channels) factor. gamma starts at 0, so that the layer
    starts as the identity.

    Raises:
      InputError: there are fewer than 8 channels.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "batch h w c"]) -> Float[Array, "batch h w c"]:
        batch, h, w, c = x.shape
        if c < 8:
            raise InputError(f"attention works on an eighth of its channels, and there are {c}: use at least 8")

        def project(name: str) -> Float[Array, "batch pixels d"]:
            return Conv(c // 8, size=1, use_bias=True, name=name)(x).reshape(batch, h * w, c // 8)

        key, query, value = project("key"), project("query"), project("value")
        logits = jnp.einsum("bqd,bkd->bqk", query, key)
        # The softmax is computed in float32 at least: unscaled logits are large, and bfloat16 loses too much of them.
        softmax_dtype = jnp.float32 if logits.dtype == jnp.bfloat16 else logits.dtype
        weights = jax.nn.softmax(logits.astype(softmax_dtype), axis=-1)
        attended = jnp.einsum("bqk,bkd->bqd", weights.astype(x.dtype), value).reshape(batch, h, w, c // 8)
        gamma = self.param("gamma", nn.initializers.zeros, ())
        return gamma * Conv(c, size=1, use_bias=True, name="out")(attended) + x
