"""Files of `torch.save`, in all its formats, as plain containers of numpy arrays. PyTorch is not needed.

What the formats hold is a pickle that describes the containers and says where the tensors' numbers lie: in members of
a zip file (since PyTorch 1.6), or behind the pickle (before). Nothing in the pickle is run; see `pickles`.
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

from fdrl_jax import pickles
from fdrl_jax.pickles import MAX_RANK, encode_latin1, is_size, numpy_arrays, numpy_dtype
from fdrl_jax.types import InputError

_DTYPES: dict[str, np.dtype] = {
    f"torch.{name}Storage": np.dtype(dtype)
    for name, dtype in (
        ("Float", np.float32), ("Double", np.float64), ("Half", np.float16), ("BFloat16", ml_dtypes.bfloat16),
        ("Long", np.int64), ("Int", np.int32), ("Short", np.int16), ("Char", np.int8), ("Byte", np.uint8),
        ("Bool", np.bool_),
    )
}  # fmt: skip

# torch.float32 and the like come back as these words.
_DTYPE_NAMES = (
    "float", "float16", "float32", "float64", "bfloat16", "half", "double", "int8", "int16", "int32", "int64", "uint8",
    "long", "bool",
)  # fmt: skip

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


class _Storage(NamedTuple):
    """The numbers that tensors are views of: a flat, contiguous array. Never a tensor, whose strides may be others."""

    numbers: np.ndarray


def read_torch_file(path: str | pathlib.Path, classes: Collection[str] = (), opaque: bool = False) -> Any:
    """What `torch.save` wrote: dicts (also for OrderedDict and Counter), lists, tuples, plain values and numpy arrays.

    Arrays are read-only. torch.device and torch dtypes come back as strings. Only the zip files have checksums.

    Args:
      path: a zip file of PyTorch, its format before 1.6, or a plain pickle of tensors.
      classes: names of classes whose instances come back as `pickles.Instance`; anything else that is neither a
        tensor nor a plain value is refused. With "numpy.ndarray", `numpy_array` has the array of such an instance.
      opaque: do not refuse other objects, such as the functions that dill writes: they come back as an instance without
        attributes, of whatever class. They are not run either.

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
    except Exception as error:  # pickletools, zipfile and numpy have their own for what is not well formed.
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise InputError(f"{path} is damaged, or no file of torch.save ({reason}): copy it again") from None


def _read_zip(path: pathlib.Path, table: pickles.Table) -> Any:
    with zipfile.ZipFile(path) as archive:
        # PyTorch stores them plainly, one behind the other; what is not could unpack to any size.
        if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
            raise ValueError("its members are compressed or overlap")
        inside = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(inside) != 1:
            raise ValueError("a zip file without a data.pkl")
        folder = inside[0].removesuffix("data.pkl")

        def read(name: str) -> bytes:
            return archive.read(folder + name)

        big_endian = f"{folder}byteorder" in archive.namelist() and read("byteorder") == b"big"

        @functools.cache
        def storage(dtype: np.dtype, key: str) -> np.ndarray:
            numbers = np.frombuffer(read(f"data/{key}"), dtype)
            # By way of integers: bfloat16 cannot be swapped.
            return numbers.view(f"u{dtype.itemsize}").byteswap().view(dtype) if big_endian else numbers

        def persistent(identifier: Any) -> _Storage:
            dtype, key, count = _identify(identifier)
            numbers = storage(dtype, key)
            if len(numbers) != count:
                raise ValueError(f"data/{key} has {len(numbers)} numbers, not {count}")
            return _Storage(numbers)

        return pickles.load(io.BytesIO(read("data.pkl")), table, persistent)


def _read_stream(data: bytes, table: pickles.Table) -> Any:
    """A plain pickle, in which each storage is a file of the format before 1.6, or a file of that format."""
    # Not one within another: a small file could ask for very many of them.
    nested = {"torch.storage._load_from_bytes": lambda data: _storage(_read_legacy(data, _table(())))}
    first = pickles.load(io.BytesIO(data), {**table, **nested})
    return _read_legacy(data, table) if type(first) is int and first == _LEGACY_MAGIC else first


def _storage(value: Any) -> _Storage:
    if type(value) is not _Storage:
        raise ValueError("a storage that is none")
    return value


def _read_legacy(data: bytes, table: pickles.Table) -> Any:
    """PyTorch's format before 1.6: five pickles, of which the fourth is what was saved, then the storages."""
    stream = io.BytesIO(data)
    if pickles.load(stream, table) != _LEGACY_MAGIC:
        raise ValueError("an unknown format")
    if pickles.load(stream, table) != _LEGACY_PROTOCOL or not pickles.load(stream, table)["little_endian"]:
        raise ValueError("an unknown version of the format")

    # How long the storages are is in the pickle before them: read it without tensors, then again with them.
    described: dict[str, tuple[np.dtype, int]] = {}
    storages: dict[str, _Storage] = {}

    def describe(identifier: Any) -> None:
        dtype, key, count = _identify(identifier)
        if described.setdefault(key, (dtype, count)) != (dtype, count):
            raise ValueError(f"storage {key} is of two kinds")

    start = stream.tell()
    pickles.load(stream, {**table, **dict.fromkeys(_TENSORS, lambda *args: None)}, describe)
    for key in pickles.load(stream, table):
        dtype, count = described[key]
        (stored,) = struct.unpack("<q", stream.read(8))
        if stored != count:
            raise ValueError(f"storage {key} has {stored} numbers, not {count}")
        storages[key] = _Storage(np.frombuffer(data, dtype, count, stream.tell()))
        stream.seek(count * dtype.itemsize, io.SEEK_CUR)
    stream.seek(start)
    return pickles.load(stream, table, lambda identifier: storages[_identify(identifier)[1]])


def _identify(identifier: Any) -> tuple[np.dtype, str, int]:
    """Dtype, key and length of the storage that a persistent id names."""
    kind, storage_type, key, _, count, *view = identifier
    good = kind == "storage" and type(storage_type) is pickles.Global and type(key) is str and is_size(count)
    if not good or storage_type.name not in _DTYPES or any(x is not None for x in view):
        raise ValueError("an unknown persistent id")
    return _DTYPES[storage_type.name], key, count


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """A view of a storage, which never reaches beyond it."""
    numbers = storage.numbers if type(storage) is _Storage else None
    if numbers is None or not len(size) == len(stride) <= MAX_RANK or not all(map(is_size, (offset, *size, *stride))):
        raise ValueError("a tensor that is not described as one")
    count = math.prod(size)
    if count == 0:
        return np.zeros(size, numbers.dtype)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if last >= len(numbers) or count > len(numbers):
        raise ValueError(f"a tensor of shape {list(size)} reaches beyond its {len(numbers)} numbers")
    strides = [s * numbers.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(numbers[offset:], size, strides, writeable=False)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _plain_dict(*args: Any) -> dict[Any, Any]:
    """OrderedDict() and Counter({...})."""
    if args and (len(args) > 1 or type(args[0]) is not dict):
        raise ValueError("a dict that is not made of one")
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
        raise ValueError("a numpy scalar that is not described as one")
    return np.frombuffer(data, dtype)[0].item()


# Names are enough for the rest: see `pickles.OPAQUE`. Code is text in a pickle, of any length, and is dropped.
_OPAQUE: dict[str, Callable[..., Any] | pickles.Global | str] = {
    pickles.OPAQUE: "",
    "_codecs.encode": lambda text, encoding: text if len(text) > 16 else encode_latin1(text, encoding),
}

_TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter")


def _table(classes: Collection[str]) -> dict[str, Callable[..., Any] | pickles.Global | str]:
    """What a file may refer to."""

    def instance(name: str) -> Callable[..., Any]:
        return lambda *args: pickles.Instance(name, {})

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
        **{name: pickles.Global(name) for name in _DTYPES},
        **{f"torch.{name}": f"torch.{name}" for name in _DTYPE_NAMES},
        **{name: instance(name) for name in classes},
        **(numpy_arrays() if "numpy.ndarray" in classes else {}),
    }
