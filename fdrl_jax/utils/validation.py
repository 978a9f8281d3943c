"""Checks of the arguments that users pass to functions and config fields, made before any work is done."""

import numbers
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from fdrl_jax.types import MAX_SEED, InputError


def root_key(key: Any) -> Key[Array, ""]:
    """Return the PRNG key for every form of key that `sampling.sample` accepts: typed, raw uint32 [2], or a seed.

    Raises:
      InputError: `key` has none of these forms.
    """
    if isinstance(key, numbers.Integral):
        require_integer("key", key, 0, MAX_SEED)
        return jax.random.key(int(key))
    if isinstance(key, (jax.Array, np.ndarray)) and key.dtype == jnp.uint32 and key.shape == (2,):
        return jax.random.wrap_key_data(jnp.asarray(key))
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()):
        raise InputError("key must be one PRNG key, such as jax.random.key(0), or an integer of at least 0")
    return key


def require_array(name: str, value: Any, wanted: str) -> Array | np.ndarray:
    """Return `value` as an array of numbers: an array unchanged, a list through `np.asarray`.

    The shape is not checked here; the caller does that.

    Args:
      name: name of the argument, for the message.
      value: value of the argument.
      wanted: description of a valid array, for the message.

    Raises:
      InputError: `value` is not an array of numbers, and cannot be made one.
    """
    if isinstance(value, (jax.Array, np.ndarray)):
        array: Array | np.ndarray = value
    else:
        try:
            array = np.asarray(value)
        except Exception:  # Lists of different lengths, and any error that a foreign object raises.
            raise InputError(f"{name} is a {type(value).__name__} that is not an array: give {wanted}") from None
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == np.bool_):
        actual = type(value).__name__ if array.dtype == object else f"an array of {array.dtype}"
        raise InputError(f"{name} is {actual}, not an array of numbers: give {wanted}")
    return array


def require_finite(name: str, array: Array | np.ndarray) -> None:
    """Refuse NaN and infinity. Traced arrays, and arrays that are partly on other hosts, are not checked.

    Raises:
      InputError: values are not finite; the message says how many.
    """
    if isinstance(array, jax.core.Tracer) or (isinstance(array, jax.Array) and not array.is_fully_addressable):
        return
    bad = np.size(array) - int(np.isfinite(np.asarray(array)).sum())  # numpy, because JAX would compile a program.
    if bad:
        raise InputError(f"{name} has {bad:,} values that are not finite (NaN or infinity): correct or leave them out")


def require_examples(name: str, value: Any, shape: tuple[int, ...]) -> Array | np.ndarray:
    """Return `value` as an array of finite floats [batch, *shape], batch at least 1.

    Raises:
      InputError: `value` has another shape or dtype, no examples, or values that are not finite.
    """
    wanted = f"float [batch, {', '.join(map(str, shape))}]"
    x = require_array(name, value, wanted)
    if x.ndim == 0 or x.shape[1:] != shape or not jnp.issubdtype(x.dtype, jnp.floating):
        how = "; images of uint8 are x / 127.5 - 1" if x.dtype == np.uint8 else ""
        raise InputError(f"{name} is {x.dtype} {list(x.shape)}, not {wanted}{how}")
    if not len(x):
        raise InputError(f"{name} has no examples: give at least one")
    require_finite(name, x)
    return x


def require_model(model: Any) -> None:
    """Refuse an object that is not a `Model`.

    Raises:
      InputError: `model` has another type, which the message names.
    """
    if not (hasattr(model, "experiment") and hasattr(model, "prior")):
        raise InputError(f"model is a {type(model).__name__}, not a model: give what fdrl_jax.load returns")


def require_path(name: str, value: Any, what: str) -> pathlib.Path:
    """Return `value` as a path. Whether the file exists is not checked.

    Args:
      name: name of the argument, for the message.
      value: value of the argument.
      what: description of the file or folder, for the message.

    Raises:
      InputError: `value` is not a path.
    """
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str) or "\0" in os.fspath(value):
        raise InputError(f"{name} = {value!r} must be the path of {what}")
    return pathlib.Path(value)


def expanded(path: str | os.PathLike[str]) -> pathlib.Path:
    """Return a path with ~ and ~name replaced by home folders.

    Raises:
      InputError: no user has that name.
    """
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{path}: there is no home folder of that user: write the path out") from None


def require_bool(name: str, value: Any) -> None:
    """Refuse a value that is neither True nor False.

    Raises:
      InputError: the value is not valid; the message has the argument's name and value.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} = {value!r} must be True or False")


def require_number(name: str, value: Any, minimum: float, maximum: float = 3e38, open_minimum: bool = False) -> None:
    """Refuse a value that is not a finite number in [minimum, maximum], or (minimum, maximum] with `open_minimum`.

    Raises:
      InputError: the value is not valid; the message has the argument's name and value.
    """
    good = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not good or not (minimum < value if open_minimum else minimum <= value) or not value <= maximum:
        bounds = f"{'above' if open_minimum else 'of at least'} {minimum:g} and at most {maximum:g}"
        raise InputError(f"{name} = {value!r} must be a number {bounds}")


def require_integer(name: str, value: Any, minimum: int, maximum: int = 2**31 - 1) -> None:
    """Refuse a value that is not an integer in [minimum, maximum].

    Raises:
      InputError: the value is not valid; the message has the argument's name and value.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not minimum <= int(value) <= maximum:
        raise InputError(f"{name} = {value!r} must be an integer of at least {minimum} and at most {maximum}")
