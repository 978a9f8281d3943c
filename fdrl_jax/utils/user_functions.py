"""Functions in a user's Python file, named FILE.py:FUNCTION: feature maps and classifiers."""

import hashlib
import importlib.util
import pathlib
from collections.abc import Callable
from typing import Any

from fdrl_jax.types import InputError


def function_of_file(name: str, what: str) -> tuple[Callable[..., Any], pathlib.Path, str]:
    """Load a function from a Python file, which is executed.

    Args:
      name: "FILE.py:FUNCTION".
      what: the role of the function ("features", "classifier"), for error messages.

    Returns:
      The function, the path of the file, and the SHA-256 of its content in hexadecimal.

    Raises:
      InputError: the file does not exist, fails when it is run, or has no such function.
    """
    file, _, function_name = name.rpartition(":")
    path = pathlib.Path(file)
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{what} {name!r}: {file} is not a Python file: is the path right?")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    spec = importlib.util.spec_from_file_location(f"fdrl_jax_{what}_{digest[:16]}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{what} {name!r}: {file} cannot be run ({type(error).__name__}: {reason}): fix it") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InputError(f"{what} {name!r}: {file} has no function {function_name!r}: is the name right?")
    return function, path, digest
