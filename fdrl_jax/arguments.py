"""Arguments of the functions that users call, checked before any work."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from fdrl_jax import schema
from fdrl_jax.types import InputError


def root_key(key: Any) -> Key[Array, ""]:
    """The PRNG key of any form that `sampling.sample` takes.

    Raises:
      InputError: it is none of them.
    """
    if isinstance(key, numbers.Integral):
        require_integer("key", key, 0, schema.MAX_SEED)
        return jax.random.key(int(key))
    if isinstance(key, (jax.Array, np.ndarray)) and key.dtype == jnp.uint32 and key.shape == (2,):
        return jax.random.wrap_key_data(jnp.asarray(key))
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()):
        raise InputError("key must be one PRNG key, such as jax.random.key(0), or an integer of at least 0")
    return key


def require_integer(name: str, value: Any, minimum: int, maximum: int = 2**31 - 1) -> None:
    """Refuse what is no integer in that range.

    Raises:
      InputError: with the argument's name and value.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not minimum <= int(value) <= maximum:
        raise InputError(f"{name} = {value!r} must be an integer of at least {minimum} and at most {maximum}")
