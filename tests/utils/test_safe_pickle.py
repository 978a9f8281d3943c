"""The restricted unpickler: plain values and numpy arrays are read, everything else is refused and never run.

`tests/models/test_torch_file.py` tests single opcodes and damaged files, through the reader of PyTorch files.
"""

import fractions
import io
import os
import pickle

import numpy as np
import pytest

from fdrl_jax.types import InputError
from fdrl_jax.utils import safe_pickle

ARRAYS = {
    **safe_pickle.numpy_arrays(),
    "numpy.dtype": safe_pickle.numpy_dtype,
    "numpy.ndarray": safe_pickle.Global("numpy.ndarray"),
}


def load(content, table=ARRAYS):
    return safe_pickle.load(io.BytesIO(content), table)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_those_of_pickle(protocol):
    shared = [1, 2]
    value = {"a": shared, "b": shared, 3: (None, True, False, ()), "c": [-1.5, 2**70, "text", {}, (1, 2, 3, 4)]}
    loaded = load(pickle.dumps(value, protocol))
    assert loaded == value
    assert loaded["a"] is loaded["b"]


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["u1", "i8", "f2", "f4", "b1"])
def test_numpy_arrays_come_back_read_only(dtype, protocol):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    for each in (array, array.T):
        loaded = safe_pickle.numpy_array(load(pickle.dumps(each, protocol)))
        np.testing.assert_array_equal(loaded, each)
        assert loaded.dtype == each.dtype
        assert not loaded.flags.writeable


class Command:
    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("table", [ARRAYS, ARRAYS | {safe_pickle.OPAQUE: ""}])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_never_run(protocol, table, tmp_path):
    content = pickle.dumps([Command(tmp_path / "made")], protocol)
    if safe_pickle.OPAQUE in table:
        assert load(content, table) == [safe_pickle.Instance(f"{os.name}.mkdir", {})]
    else:
        with pytest.raises(InputError, match=rf"it refers to '{os.name}\.mkdir', and only tensors and plain values"):
            load(content, table)
    assert not (tmp_path / "made").exists()
    pickle.loads(content)
    assert (tmp_path / "made").exists()


def test_an_opcode_that_data_does_not_need_is_refused():
    with pytest.raises(InputError, match="never need, EMPTY_SET"):
        load(pickle.dumps({1, 2}, 4))


def test_objects_of_unknown_classes_are_opaque_only_on_request():
    content = pickle.dumps({"half": fractions.Fraction(1, 2), "n": 3}, 2)
    with pytest.raises(InputError, match=r"it refers to 'fractions\.Fraction'"):
        load(content)
    loaded = load(content, ARRAYS | {safe_pickle.OPAQUE: ""})
    assert loaded == {"half": safe_pickle.Instance("fractions.Fraction", {}), "n": 3}


@pytest.mark.parametrize(
    "state", [None, (1, (3,), np.dtype("u1"), False, b"ab"), (1, (-1,), np.dtype("u1"), False, b"")]
)
def test_a_malformed_array_is_refused(state):
    with pytest.raises(ValueError, match="a numpy array"):
        safe_pickle.numpy_array(safe_pickle.Instance("numpy.ndarray", {"state": state}))
