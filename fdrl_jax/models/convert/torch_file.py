"""Read .pt files (`torch.save`, in all its formats) without PyTorch, as plain containers of numpy arrays.

Every format holds a pickle that describes the containers and refers to the tensors' numbers: these are in members of a
zip file (since PyTorch 1.6), or after the pickle (before). Nothing in the pickle is run; see `utils.safe_pickle`.
"""

import functools
import io
import math
import pathlib
import struct
import zipfile
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from fdrl_jax.types import InputError
from fdrl_jax.utils import safe_pickle
from fdrl_jax.utils.safe_pickle import MAX_RANK, encode_latin1, is_size, numpy_arrays, numpy_dtype

_DTYPES: dict[str, np.dtype] = {
    f"torch.{name}Storage": np.dtype(dtype)
    for name, dtype in (
        ("Float", np.float32), ("Double", np.float64), ("Half", np.float16), ("BFloat16", ml_dtypes.bfloat16),
        ("Long", np.int64), ("Int", np.int32), ("Short", np.int16), ("Char", np.int8), ("Byte", np.uint8),
        ("Bool", np.bool_),
    )
}  # fmt: skip

# torch.float32 and the other dtypes are read as strings, "torch.float32", for these names.
_DTYPE_NAMES = (
    "float", "float16", "float32", "float64", "bfloat16", "half", "double", "int8", "int16", "int32", "int64", "uint8",
    "long", "bool",
)  # fmt: skip

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


class _Storage(NamedTuple):
    """The memory that tensors are views of: a flat, contiguous array.

    The type keeps storages apart from tensors. Those are arrays too, but may have other strides: a view of a tensor as
    if it were a storage could reach beyond its memory.
    """

    numbers: np.ndarray


def read_torch_file(path: str | pathlib.Path, classes: Collection[str] = (), opaque: bool = False) -> Any:
    """Read what `torch.save` wrote: dicts (also for OrderedDict and Counter), lists, tuples, plain values and arrays.

    Arrays are numpy's and read-only. torch.device and torch dtypes are read as strings. Only zip files have checksums.

    Args:
      path: zip file of PyTorch, file of its format before 1.6, or plain pickle of tensors.
      classes: names of classes whose instances are read as `safe_pickle.Instance`; anything else that is neither a
        tensor nor a plain value is refused. With "numpy.ndarray", `numpy_array` returns the array of such an instance.
      opaque: whether to accept all other objects too, such as the functions that dill writes: each is read as an
        instance without attributes, whatever its class. They are not run either.

    Raises:
      InputError: the file cannot be read, is damaged, or refers to anything that could run code.
    """
    table = _table(classes) | (_OPAQUE if opaque else {})
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(pathlib.Path(path), table)
        return _read_stream(pathlib.Path(path).read_bytes(), table)
    except InputError as error:
        raise InputError(f"{path} is refused: {error}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): is the path right?") from None
    except Exception as error:  # pickletools, zipfile and numpy raise errors of many types for malformed input.
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise InputError(f"{path} is damaged, or not a file of torch.save ({reason}): copy it again") from None


def _read_zip(path: pathlib.Path, table: safe_pickle.Table) -> Any:
    """Read PyTorch's format since 1.6: a zip file with a data.pkl and one member per storage."""
    with zipfile.ZipFile(path) as archive:
        # PyTorch stores members uncompressed and one after the other; a compressed file could unpack to any size.
        if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
            raise ValueError("its members are compressed or overlap")
        pickles = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("a zip file without a data.pkl")
        folder = pickles[0].removesuffix("data.pkl")

        def read(name: str) -> bytes:
            return archive.read(folder + name)

        big_endian = f"{folder}byteorder" in archive.namelist() and read("byteorder") == b"big"

        @functools.cache
        def storage(dtype: np.dtype, key: str) -> np.ndarray:
            numbers = np.frombuffer(read(f"data/{key}"), dtype)
            # The bytes are swapped as integers, because numpy cannot swap those of bfloat16.
            return numbers.view(f"u{dtype.itemsize}").byteswap().view(dtype) if big_endian else numbers

        def persistent(identifier: Any) -> _Storage:
            dtype, key, count = _identify(identifier)
            numbers = storage(dtype, key)
            if len(numbers) != count:
                raise ValueError(f"data/{key} has {len(numbers)} numbers, not {count}")
            return _Storage(numbers)

        return safe_pickle.load(io.BytesIO(read("data.pkl")), table, persistent)


def _read_stream(data: bytes, table: safe_pickle.Table) -> Any:
    """Read a file of the format before 1.6, or a plain pickle, in which each storage is a file of that format."""
    # Storages in a plain pickle may not contain pickles with storages again: a small file could nest very many of them.
    nested = {"torch.storage._load_from_bytes": lambda data: _storage(_read_legacy(data, _table(())))}
    first = safe_pickle.load(io.BytesIO(data), {**table, **nested})
    return _read_legacy(data, table) if type(first) is int and first == _LEGACY_MAGIC else first


def _storage(value: Any) -> _Storage:
    """Return `value`; refuse anything but a storage."""
    if type(value) is not _Storage:
        raise ValueError("a nested file that does not hold a storage")
    return value


def _read_legacy(data: bytes, table: safe_pickle.Table) -> Any:
    """Read PyTorch's format before 1.6: five pickles, of which the fourth is what was saved, then the storages."""
    stream = io.BytesIO(data)
    if safe_pickle.load(stream, table) != _LEGACY_MAGIC:
        raise ValueError("an unknown format")
    if safe_pickle.load(stream, table) != _LEGACY_PROTOCOL or not safe_pickle.load(stream, table)["little_endian"]:
        raise ValueError("an unknown version of the format")

    # The lengths of the storages are in the pickle before them, so it is read twice: first without tensors, to learn
    # the lengths, and again with them.
    described: dict[str, tuple[np.dtype, int]] = {}
    storages: dict[str, _Storage] = {}

    def describe(identifier: Any) -> None:
        dtype, key, count = _identify(identifier)
        if described.setdefault(key, (dtype, count)) != (dtype, count):
            raise ValueError(f"storage {key} has two dtypes or lengths")

    start = stream.tell()
    safe_pickle.load(stream, {**table, **dict.fromkeys(_TENSORS, lambda *args: None)}, describe)
    for key in safe_pickle.load(stream, table):
        dtype, count = described[key]
        (stored,) = struct.unpack("<q", stream.read(8))
        if stored != count:
            raise ValueError(f"storage {key} has {stored} numbers, not {count}")
        storages[key] = _Storage(np.frombuffer(data, dtype, count, stream.tell()))
        stream.seek(count * dtype.itemsize, io.SEEK_CUR)
    stream.seek(start)
    return safe_pickle.load(stream, table, lambda identifier: storages[_identify(identifier)[1]])


def _identify(identifier: Any) -> tuple[np.dtype, str, int]:
    """Return dtype, key and length of the storage that a persistent id of the pickle names."""
    kind, storage_type, key, _, count, *view = identifier
    valid = kind == "storage" and type(storage_type) is safe_pickle.Global and type(key) is str and is_size(count)
    if not valid or storage_type.name not in _DTYPES or any(x is not None for x in view):
        raise ValueError("an unknown persistent id")
    return _DTYPES[storage_type.name], key, count


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """Return a view of a storage; refuse one that reaches beyond it."""
    numbers = storage.numbers if type(storage) is _Storage else None
    if numbers is None or not len(size) == len(stride) <= MAX_RANK or not all(map(is_size, (offset, *size, *stride))):
        raise ValueError("a tensor with a malformed description")
    count = math.prod(size)
    if count == 0:
        return np.zeros(size, numbers.dtype)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if last >= len(numbers) or count > len(numbers):
        raise ValueError(f"a tensor of shape {list(size)} reaches beyond its {len(numbers)} numbers")
    strides = [s * numbers.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(numbers[offset:], size, strides, writeable=False)


def _parameter(data: Any, *_: Any) -> Any:
    """Return the array of a torch.nn.Parameter."""
    return data


def _plain_dict(*args: Any) -> dict[Any, Any]:
    """Return the dict that OrderedDict() or Counter({...}) is read as."""
    if args and (len(args) > 1 or type(args[0]) is not dict):
        raise ValueError("an OrderedDict or Counter that is not made from a dict")
    return args[0] if args else {}


def _size(sizes: Any) -> tuple[int, ...]:
    if type(sizes) is not tuple or not all(map(is_size, sizes)):
        raise ValueError("a torch.Size that is not made of sizes")
    return sizes


def _device(kind: Any, index: Any = None) -> str:
    if kind not in ("cpu", "cuda", "mps", "meta") or not (index is None or is_size(index)):
        raise ValueError("an unknown torch.device")
    return kind if index is None else f"{kind}:{index}"


def _numpy_scalar(dtype: Any, data: Any) -> Any:
    if not isinstance(dtype, np.dtype) or type(data) is not bytes or len(data) != dtype.itemsize:
        raise ValueError("a numpy scalar with a malformed description")
    return np.frombuffer(data, dtype)[0].item()


# Additions to the table where other objects are accepted; see `safe_pickle.OPAQUE`. The code of a function is a text of
# any length in the pickle, and its encoding is skipped.
_OPAQUE: dict[str, Callable[..., Any] | safe_pickle.Global | str] = {
    safe_pickle.OPAQUE: "",
    "_codecs.encode": lambda text, encoding: text if len(text) > 16 else encode_latin1(text, encoding),
}

_TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter")


def _table(classes: Collection[str]) -> dict[str, Callable[..., Any] | safe_pickle.Global | str]:
    """Return everything that a file may refer to, by name, as `safe_pickle.load` takes it."""

    def instance(name: str) -> Callable[..., Any]:
        return lambda *args: safe_pickle.Instance(name, {})

    return {
        "collections.OrderedDict": _plain_dict,
        "collections.Counter": _plain_dict,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "torch.Size": _size,
        "torch.device": _device,
        "numpy.dtype": numpy_dtype,
        "numpy.core.multiarray.scalar": _numpy_scalar,
        "numpy._core.multiarray.scalar": _numpy_scalar,
        "_codecs.encode": encode_latin1,
        **{name: safe_pickle.Global(name) for name in _DTYPES},
        **{f"torch.{name}": f"torch.{name}" for name in _DTYPE_NAMES},
        **{name: instance(name) for name in classes},
        **(numpy_arrays() if "numpy.ndarray" in classes else {}),
    }
