"""A restricted unpickler: it reads the data in a pickle and runs none of its code.

A pickle is a program for a small stack machine, and Python's `pickle` lets it call any function that can be imported.
The stack machine here has only the opcodes that build numbers, strings, lists, tuples and dicts, and a table of our own
functions under the names that a pickle uses for them. It looks up no other name and sets no attribute of any object.
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
    """A name that a pickle refers to, such as torch.FloatStorage. Nothing of that name is imported."""

    name: str


@dataclasses.dataclass
class Instance:
    """The data that a pickle holds for an object whose class is not imported.

    Attributes:
      name: name of the class.
      attributes: attributes of the object; {"state": (...)} for a numpy array.
    """

    name: str
    attributes: dict[str, Any]


# If this is a key of a `Table`, a name that the table does not have is no error. Objects of such a name, and objects
# made by calling them, are read as instances without attributes. No code is run for them either.
OPAQUE = "*"

# The largest number of dimensions of a numpy array.
MAX_RANK = 64

# Name -> the function of ours that the pickle may call under that name, or a value. Such a function must not copy its
# arguments, because a small file could then make it copy a large part of the file many times.
Table = Mapping[str, Callable[..., Any] | Global | str]

_PLAIN = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def load(stream: io.BytesIO, table: Table, persistent: Callable[[Any], Any] | None = None) -> Any:
    """Return the object in the pickle at the stream's position. The stream's position is then after the pickle.

    Args:
      stream: bytes in memory, so that a length in the pickle cannot make more memory be allocated than they have.
      table: the names that the pickle may refer to.
      persistent: function from a persistent id to its object, or None to refuse persistent ids.

    Raises:
      InputError: the pickle refers to another name, or has an opcode that data never needs.
      Exception: the pickle is damaged; the exception may be of any type.
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
                raise ValueError("it refers to a value that it never stored")
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
    raise AssertionError  # genops raises an error if STOP is missing.


def _set(target: Any, items: list[Any]) -> dict[Any, Any]:
    """Set the items of a dict: keys and values alternate in `items`. Returns the dict."""
    if type(target) is not dict or len(items) % 2:
        raise ValueError("keys are set in something that is no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Tuples are refused, because hashing a deeply nested one overflows Python's stack.
        if not isinstance(key, (str, int, float, bytes, type(None))):
            raise ValueError("a dict has a key that is no number or string")
        target[key] = value
    return target


def _build(target: Any, state: Any) -> None:
    """Store the state that the pickle has for an object, as data: attributes of Python objects are never set."""
    if isinstance(target, Instance) and type(state) is dict:
        target.attributes = state
    elif isinstance(target, Instance) and target.name == "numpy.ndarray" and type(state) is tuple:
        target.attributes = {"state": state}
    elif isinstance(target, np.dtype):
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise ValueError("numbers of this byte order are not read")
    elif type(target) is not dict:  # The attributes of a dict are dropped: in a state_dict they are version numbers.
        raise ValueError("state is given to something that has none")


# --- numpy arrays: functions for tables ---


def is_size(value: Any) -> bool:
    """Return True if `value` is an int in [0, 2**62)."""
    return type(value) is int and 0 <= value < 2**62


def numpy_dtype(code: Any, *_: Any) -> np.dtype:
    """Return the dtype of a code such as "f4": booleans, integers and floats.

    Raises:
      ValueError: `code` is none of these.
    """
    if type(code) is not str or not re.fullmatch("b1|[iu][1248]|f[248]", code):
        raise ValueError("a numpy dtype that is not of numbers")
    return np.dtype(code)


def encode_latin1(text: Any, encoding: Any, limit: int = 16) -> bytes:
    """Encode text as bytes, which is how pickles of protocol 2 store bytes. The default limit is that of a number.

    Raises:
      ValueError: `text` is not a string of at most `limit` characters, or the encoding is not latin1.
    """
    if type(text) is not str or len(text) > limit or encoding != "latin1":
        raise ValueError("bytes that are not described as such")
    return text.encode("latin1")


def numpy_array(value: Any) -> np.ndarray:
    """Return a tensor, or an instance of "numpy.ndarray", in a file as a read-only array of numbers.

    Raises:
      ValueError: `value` is neither, or is malformed.
    """
    if isinstance(value, np.ndarray):
        return value
    state = value.attributes.get("state") if isinstance(value, Instance) else None
    if type(state) is not tuple or len(state) != 5:
        raise ValueError("a numpy array that is not described as one")
    _, shape, dtype, by_columns, data = state
    data = data.encode("latin1") if type(data) is str else data  # Python 2 wrote bytes as str.
    good = type(shape) is tuple and len(shape) <= MAX_RANK and all(map(is_size, shape))
    if not good or not isinstance(dtype, np.dtype) or type(data) is not bytes:
        raise ValueError("a numpy array that is not described as one")
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"a numpy array of shape {list(shape)} has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")


def numpy_arrays() -> Table:
    """Return the table of names that a pickle with numpy arrays refers to."""
    # The cache encodes each text once, so that many arrays that share one text take no more memory than the file has.
    encode = functools.cache(lambda text, encoding: encode_latin1(text, encoding, limit=2**31))
    empty = lambda *_: Instance("numpy.ndarray", {})  # noqa: E731
    names = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
    return {**dict.fromkeys(names, empty), "_codecs.encode": encode}
