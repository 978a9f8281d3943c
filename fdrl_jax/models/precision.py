"""The cast to bfloat16: a network may compute in it, while its stored parameters and its outputs stay float32."""

from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PyTree

Precision: TypeAlias = Literal["float32", "bf16"]


def compute_dtype(precision: Precision) -> DTypeLike:
    """Return the dtype that a network of this precision computes in."""
    return jnp.bfloat16 if precision == "bf16" else jnp.float32


def cast(arrays: PyTree[Float[Array, "..."]], dtype: DTypeLike) -> PyTree[Float[Array, "..."]]:
    """Cast `arrays` to bfloat16 where that is `dtype`; return them unchanged where it is float32.

    Unchanged, because float64 arrays (`jax.enable_x64`) must pass through a float32 network.
    """
    return jax.tree.map(lambda x: x.astype(dtype), arrays) if dtype == jnp.bfloat16 else arrays
