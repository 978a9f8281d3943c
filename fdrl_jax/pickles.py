"""A reader of pickles that runs nothing in them.

A pickle is a program for a small stack machine; `pickle` lets it call any function that can be imported. This machine
has the opcodes that build numbers, strings, lists, tuples and dicts, and a table of functions of ours, by the names
that a pickle uses for them. It looks up nothing else, and touches no attribute of any object.
"""

import dataclasses
import functools
import io
import math
import pickletools
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from fdrl_jax.types import InputError


@dataclasses.dataclass(frozen=True)
class Global:
    """A name that a pickle refers to, such as torch.FloatStorage. Only that: nothing is imported."""

    name: str


@dataclasses.dataclass
class Instance:
    """What a pickle says of an object of a class that is not loaded.

    Attributes:
      name: of the class.
      attributes: of the object; {"state": (...)} of a numpy array.
    """

    name: str
    attributes: dict[str, Any]


# A key of `Table`. With it, what the table does not know is no error: such objects come back as empty instances, and so
# does what is made of them. Nothing is run for it either.
OPAQUE = "*"

# Of an array in numpy.
MAX_RANK = 64

# What a name stands for: a function of ours that the pickle may call, or a value. A function must not copy what it is
# given: a small file could ask for many copies of a large part of itself.
Table = Mapping[str, Callable[..., Any] | Global | str]

_PLAIN = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def load(stream: io.BytesIO, table: Table, persistent: Callable[[Any], Any] | None = None) -> Any:
    """The object that the pickle at the stream's position describes; the stream is left behind it.

    Args:
      stream: in memory, so that a length in it cannot ask for more.
      table: what the pickle may refer to.
      persistent: what a persistent id stands for; None where there are none.

    Raises:
      InputError: it refers to something else, or does something that data never needs.
      Exception: of any other kind, where it is damaged.
    """
    stack: list[Any] = []
    below: list[list[Any]] = []
    memo: dict[int, Any] = {}
    opaque = OPAQUE in table

    def since_mark() -> list[Any]:
        nonlocal stack
        items, stack = stack, below.pop()
        return items

    def look_up(name: str) -> Any:
        if name not in table and opaque:
            return Global(name)
        if name not in table:
            raise InputError(f"it refers to {name[:100]!r}, and only tensors and plain values are read, never code")
        entry = table[name]
        return Global(name) if callable(entry) else entry

    for opcode, argument, _ in pickletools.genops(stream):
        name, value = opcode.name, cast(Any, argument)
        if name in _PLAIN:
            stack.append(value)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            count = _TUPLES[name]
            if len(stack) < count:
                raise ValueError("the stack is too short")
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name == "MARK":
            below.append(stack)
            stack = []
        elif name in ("TUPLE", "LIST", "DICT"):
            items = since_mark()
            stack.append(tuple(items) if name == "TUPLE" else items if name == "LIST" else _set({}, items))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else since_mark()
            if type(stack[-1]) is list:
                stack[-1].extend(items)
            elif not (opaque and isinstance(stack[-1], Instance)):
                raise ValueError("items are appended to something that is no list")
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else since_mark()
            if not (opaque and isinstance(stack[-1], Instance)):
                _set(stack[-1], items)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else value] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if value not in memo:
                raise ValueError("it goes back to what was not there")
            stack.append(memo[value])
        elif name == "GLOBAL":
            stack.append(look_up(".".join(value.split(" ", 1))))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            if type(module) is not str or type(attribute) is not str:
                raise ValueError("a name that is no string")
            stack.append(look_up(f"{module}.{attribute}"))
        elif name in ("REDUCE", "NEWOBJ"):
            args, function = stack.pop(), stack.pop()
            called = table.get(function.name) if isinstance(function, Global) else None
            if opaque and isinstance(function, (Global, Instance)) and not callable(called):
                stack.append(Instance(function.name, {}))
                continue
            if not callable(called) or type(args) is not tuple:
                raise ValueError("it calls something that is no function")
            stack.append(called(*args))
        elif name == "BUILD":
            state = stack.pop()
            if not (opaque and isinstance(stack[-1], (Instance, Global))):
                _build(stack[-1], state)
        elif name == "BINPERSID" and persistent is not None:
            stack.append(persistent(stack.pop()))
        elif name == "POP" and opaque:
            stack.pop()
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise InputError(f"it has a pickle opcode that tensors and plain values never need, {name}")
    raise AssertionError  # genops raises where STOP is missing.


def _set(target: Any, items: list[Any]) -> dict[Any, Any]:
    """Set keys and values, in turn."""
    if type(target) is not dict or len(items) % 2:
        raise ValueError("keys are set in something that is no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Not tuples: Python's hash of one nested deeply enough overflows the stack.
        if not isinstance(key, (str, int, float, bytes, type(None))):
            raise ValueError("a dict has a key that is no number or string")
        target[key] = value
    return target


def _build(target: Any, state: Any) -> None:
    """Give an object its state: as data only, never as attributes of a Python object."""
    if isinstance(target, Instance) and type(state) is dict:
        target.attributes = state
    elif isinstance(target, Instance) and target.name == "numpy.ndarray" and type(state) is tuple:
        target.attributes = {"state": state}
    elif isinstance(target, np.dtype):
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise ValueError("numbers of this byte order are not read")
    elif type(target) is not dict:  # The attributes of a dict: a state_dict carries version numbers in one.
        raise ValueError("state is given to something that has none")


# --- numpy's arrays, for tables ---


def is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62


def numpy_dtype(code: Any, *_: Any) -> np.dtype:
    if type(code) is not str or not re.fullmatch("b1|[iu][1248]|f[248]", code):
        raise ValueError("a numpy dtype that is not of numbers")
    return np.dtype(code)


def encode_latin1(text: Any, encoding: Any, limit: int = 16) -> bytes:
    # How pickles of protocol 2 spell bytes; here, those of a number.
    if type(text) is not str or len(text) > limit or encoding != "latin1":
        raise ValueError("bytes that are not described as such")
    return text.encode("latin1")


def numpy_array(value: Any) -> np.ndarray:
    """The array of numbers that a tensor or an instance of "numpy.ndarray" in a file stands for; read-only.

    Raises:
      ValueError: it is none, or is not well formed.
    """
    if isinstance(value, np.ndarray):
        return value
    state = value.attributes.get("state") if isinstance(value, Instance) else None
    if type(state) is not tuple or len(state) != 5:
        raise ValueError("a numpy array that is not described as one")
    _, shape, dtype, by_columns, data = state
    data = data.encode("latin1") if type(data) is str else data  # Bytes of Python 2.
    good = type(shape) is tuple and len(shape) <= MAX_RANK and all(map(is_size, shape))
    if not good or not isinstance(dtype, np.dtype) or type(data) is not bytes:
        raise ValueError("a numpy array that is not described as one")
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"a numpy array of shape {list(shape)} has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")


def numpy_arrays() -> Table:
    """What a file refers to that has numpy's arrays in its pickle."""
    # Each text once: many arrays of one text must not take more memory than the file has.
    encode = functools.cache(lambda text, encoding: encode_latin1(text, encoding, limit=2**31))
    empty = lambda *_: Instance("numpy.ndarray", {})  # noqa: E731
    names = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
    return {**dict.fromkeys(names, empty), "_codecs.encode": encode}
