"""Files of torch.save read without PyTorch: everything is read as data, and what could run code is refused.

Covers: `convert.torch_file`.
"""

import io
import pickle
import re
import zipfile

import ml_dtypes
import numpy as np
import pytest
from authors_files import FILES
from opcodes import DISTRIBUTION, DISTRIBUTION_NAME, body, storage, tensor, write_zip

from fdrl_jax.models import convert
from fdrl_jax.types import InputError
from fdrl_jax.utils.safe_pickle import Instance

# --- what torch.save writes ---


@pytest.mark.parametrize("name", ["views.pt", "views_legacy.pt"])
def test_everything_that_torch_save_describes_comes_back(name):
    content, base = convert.read_torch_file(FILES / name), np.arange(24, dtype=np.float32)
    arrays = {
        "transposed": base.reshape(4, 6).T,
        "offset": base[5:9],
        "strided": base.reshape(4, 6)[1::2, ::3],
        "scalar": np.float32(2.5),
        "empty": np.zeros((0, 3), np.float32),
        "parameter": np.ones(2, np.float32),
    }
    for key, expected in arrays.items():
        np.testing.assert_array_equal(content[key], expected, strict=True)
    for array, expected in zip(content["shared"], (base[:3], base[1:4]), strict=True):
        np.testing.assert_array_equal(array, expected)
    for kind, array in content["dtypes"].items():
        assert array.dtype == np.dtype(getattr(ml_dtypes, kind, kind))
        np.testing.assert_array_equal(array.astype(int), [0, 1, 1])
    assert content["plain"] == [1, -(2**40), 2.5, "text", None, True, (1, (2, 3)), {"a": []}]
    assert content["torch"] == [(2, 3), "torch.float32", "cuda:1", "cpu"]
    assert content["numpy"] == [0.25, -7, True]


def test_numbers_of_the_other_byte_order(tmp_path):
    numbers = np.arange(4, dtype=">f4").tobytes()
    write_zip(tmp_path / "a.pt", tensor(4, 0, (2, 2), (2, 1)), {"data/0": numbers, "byteorder": b"big"})
    np.testing.assert_array_equal(convert.read_torch_file(tmp_path / "a.pt"), [[0, 1], [2, 3]])


def test_a_checkpoint_has_more_than_the_network():
    content = convert.read_torch_file(FILES / "full.pt")
    assert content.keys() == {"step", "model", "optim", "ema", "scheduler", "config"}
    assert content["step"] == 2
    assert all(name.startswith("module.") for name in content["model"])
    assert not any(name.startswith("module.") for name in content["ema"])
    assert not content["model"]["module.conv1.weight_orig"].flags.writeable
    shapes = [value["exp_avg"].shape for value in content["optim"]["state"].values()]
    assert shapes == [x.shape for x in content["ema"].values()]
    assert content["scheduler"]["milestones"] == {1: 1, 5: 1}


# --- hostile files ---


class Command:
    """An object whose pickle runs a shell command when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


class Evaluation(Command):
    def __reduce__(self):
        return eval, (f"__import__('pathlib').Path({str(self.path)!r}).touch()",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrapping", ["pickle", "zip", "legacy"])
@pytest.mark.parametrize(("kind", "name"), [(Command, "posix.system"), (Evaluation, "builtins.eval")])
def test_code_is_refused_by_name_and_not_run(kind, name, wrapping, protocol, tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "a.pt"
    hostile = pickle.dumps({"model": kind(marker)}, protocol)
    if wrapping == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", hostile)
    elif wrapping == "legacy":
        start = [pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
        path.write_bytes(b"".join([*start, hostile, pickle.dumps([], 2)]))
    else:
        path.write_bytes(hostile)
    for read in (convert.read_torch_file, convert.read_checkpoint, convert.read_ddp):
        with pytest.raises(InputError, match=rf"a\.pt is refused: it refers to '(__builtin__|{name.split('.')[0]})\."):
            read(path)
    assert not marker.exists()
    pickle.loads(hostile)  # Python's own reader does run the code.
    assert marker.exists()


ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


def set_state(attribute):
    """The opcodes that set an attribute, through a dict and through the slots of an object."""
    items = b"}" + body(attribute) + body(1) + b"s"
    return items + b"b", b"N" + items + b"\x86b"


# Opcodes by the reason why they are refused.
REFUSED = {
    # Calls of a class that is only a name, of a string, of a built value; and arguments that are not a tuple.
    "it calls something that is no function": [
        b"ctorch\nFloatStorage\n)R",
        b"ctorch\nfloat32\n)R",
        ORDERED_DICT + b")R",
        body("os.system") + body(("true",)) + b"R",
        b"ccollections\nOrderedDict\n]R",
        b"ctorch\nFloatStorage\n)\x81",
    ],
    # Other ways to call.
    "never need, OBJ": [b"(ccollections\nOrderedDict\no"],
    "never need, INST": [b"(icollections\nOrderedDict\n"],
    "never need, NEWOBJ_EX": [b"ccollections\nOrderedDict\n)}\x92"],
    "never need, EXT1": [b"\x82\x01"],
    "never need, EMPTY_SET": [b"\x8f"],
    "never need, NEXT_BUFFER": [b"\x97"],
    # State for the allowed functions and classes themselves, a string, a list and a tensor.
    "state is given to something that has none": [
        *(b"ccollections\nOrderedDict\n" + x for x in set_state("__class__")),
        *(b"ctorch._utils\n_rebuild_tensor_v2\n" + x for x in set_state("__code__")),
        *(DISTRIBUTION + x for x in set_state("__init__")),
        *(DISTRIBUTION + b")\x81" + x for x in set_state("__setstate__")[1:]),
        *(body("text") + x for x in set_state("__class__")),
        *(b"]" + x for x in set_state("__class__")),
        *(tensor(4, 0, (2,), (1,)) + x for x in set_state("strides")),
    ],
    "a key that is no number or string": [b"}" + body((1, 2)) + body(1) + b"s", b"}]" + body(1) + b"s"],
    "keys are set in something that is no dict": [b"}(" + body(1) + b"u", b"])" + body(1) + b"s"],
    "items are appended to something that is no list": [b")" + body(1) + b"a", b"}(" + body(1) + b"e"],
    "an OrderedDict or Counter that is not made from a dict": [
        b"ccollections\nCounter\n(]tR",
        b"ccollections\nOrderedDict\n(" + body([("a", 1)]) + b"tR",
        b"ccollections\nCounter\n(}}tR",
    ],
    "reaches beyond its 4 numbers": [
        tensor(4, 0, (5,), (1,)),
        tensor(4, 1, (4,), (1,)),
        tensor(4, 4, (1,), (1,)),
        tensor(4, 4, (), ()),
        tensor(4, 0, (2, 2), (3, 1)),
        tensor(4, 0, (2, 2), (1, 3)),
        tensor(4, 0, (5,), (0,)),
        tensor(4, 0, (2**40, 2**40), (0, 0)),
    ],
    "reaches beyond its 2 numbers": [tensor(2, 0, (3,), (1,), source=storage(2, b"DoubleStorage"))],
    "a tensor with a malformed description": [
        tensor(4, -1, (1,), (1,)),
        tensor(4, 3, (2,), (-1,)),
        tensor(4, 0, (-1,), (1,)),
        tensor(4, 0, (2,), (2**63,)),
        tensor(4, 0, (2.0,), (1,)),
        tensor(4, 0, (2,), (1, 1)),
        tensor(4, 0, (1,) * 65, (1,) * 65),
        tensor(4, True, (1,), (1,)),
        # A transposed tensor is not contiguous: a view of it as if it were a storage could reach beyond its memory.
        tensor(4, 0, (2,), (1,), source=tensor(4, 0, (2, 2), (1, 2))),
        tensor(4, 0, (2,), (1,), source=body(b"abcdefgh")),
    ],
    "data/0 has 4 numbers, not 3": [tensor(3, 0, (2,), (1,))],
    "data/0 has 4 numbers, not 5": [tensor(5, 0, (2,), (1,))],
    "an unknown persistent id": [
        tensor(2**70, 0, (2,), (1,)),
        tensor(4, 0, (2,), (1,), source=storage(4, b"float32")),
        tensor(4, 0, (2,), (1,), source=storage(4, b"Size")),
    ],
    "not enough values to unpack": [body(("storage", 1)) + b"Q"],
    "a torch.Size that is not": [b"ctorch\nSize\n(" + body([1]) + b"tR", b"ctorch\nSize\n(" + body(("a",)) + b"tR"],
    "an unknown torch.device": [b"ctorch\ndevice\n(" + body("disk") + b"tR"],
    "a numpy dtype that is not of numbers": [
        b"cnumpy\ndtype\n(" + body("O") + b"tR",
        b"cnumpy\ndtype\n(" + body("f4,(1000000000,)f4") + b"tR",
    ],
    "a numpy scalar with a malformed": [b"cnumpy.core.multiarray\nscalar\n(" + body("f4") + body(1) + b"tR"],
    "numbers of this byte order": [b"cnumpy\ndtype\n(" + body("f4") + b"tR(" + body(3) + body(">") + b"tb"],
    "bytes that are not": [
        b"c_codecs\nencode\n(" + body("x") + body("rot13") + b"tR",
        b"c_codecs\nencode\n(" + body("x" * 17) + body("latin1") + b"tR",
    ],
    # Not a program at all.
    "refers to a value that it never stored": [b"h\x07"],
    "pop from empty list": [b"t", b"", b"R", b"\x93"],
    "the stack is too short": [b"\x85", b"N\x86"],
    "a name that is no string": [body(1) + body(2) + b"\x93"],
}


@pytest.mark.parametrize(
    ("reason", "opcodes"),
    [
        pytest.param(reason, opcodes, id=f"{reason.replace(' ', '-')}-{i}")
        for reason, cases in REFUSED.items()
        for i, opcodes in enumerate(cases)
    ],
)
def test_a_program_that_no_torch_save_writes_is_refused(reason, opcodes, tmp_path):
    path = tmp_path / "a.pt"
    write_zip(path, opcodes, {"data/0": np.arange(4, dtype=np.float32).tobytes()})
    with pytest.raises(InputError, match=re.escape(reason)) as error:
        convert.read_torch_file(path, classes={DISTRIBUTION_NAME})
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200 + len(str(path))


def test_tensors_just_within_their_storage_are_read(tmp_path):
    # The tensors of `REFUSED` with the mistake corrected.
    for size, stride, offset in [((4,), (1,), 0), ((3,), (1,), 1), ((2, 2), (1, 2), 0), ((4,), (0,), 3), ((), (), 3)]:
        numbers = np.arange(4, dtype=np.float32)
        write_zip(tmp_path / "a.pt", tensor(4, offset, size, stride), {"data/0": numbers.tobytes()})
        expected = np.lib.stride_tricks.as_strided(numbers[offset:], size, [4 * s for s in stride])
        np.testing.assert_array_equal(convert.read_torch_file(tmp_path / "a.pt"), expected)


def test_state_given_to_a_dict_is_dropped(tmp_path):
    attributes = b"}" + body("keys") + body(1) + b"s" + body("_metadata") + b"}s" + b"b"
    (tmp_path / "a.pt").write_bytes(b"\x80\x02" + ORDERED_DICT + attributes + body("a") + body(1) + b"s.")
    content = convert.read_torch_file(tmp_path / "a.pt")
    assert content == {"a": 1}
    assert type(content) is dict
    assert not hasattr(content, "_metadata")


def test_an_object_of_a_named_class_is_data(tmp_path):
    name = "a.module.Class"
    state_ = b"}(" + body("__class__") + body("x") + body("name") + body(2) + b"u"
    (tmp_path / "a.pt").write_bytes(b"\x80\x02ca.module\nClass\n)\x81" + state_ + b"b.")
    instance = convert.read_torch_file(tmp_path / "a.pt", classes={name})
    assert type(instance) is Instance
    assert (instance.name, instance.attributes) == (name, {"__class__": "x", "name": 2})
    with pytest.raises(InputError, match=r"refers to 'a\.module\.Class'"):
        convert.read_torch_file(tmp_path / "a.pt")


def test_a_zip_file_that_would_grow_is_refused(tmp_path):
    path, zeros = tmp_path / "a.pt", {"data/0": bytes(4_000_000)}
    write_zip(path, tensor(1_000_000, 0, (1,), (1,)), zeros, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match="its members are compressed or overlap"):
        convert.read_torch_file(path)
    write_zip(path, tensor(1_000_000, 0, (1,), (1,)), zeros)
    assert convert.read_torch_file(path) == 0


def test_a_storage_of_the_old_format_has_the_length_that_was_described(tmp_path):
    start = b"".join(pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    start += b"\x80\x02" + tensor(4, 0, (4,), (1,)) + b"." + pickle.dumps(["0"], 2)
    numbers, path = np.arange(4, dtype=np.float32), tmp_path / "a.pt"
    path.write_bytes(start + (4).to_bytes(8, "little") + numbers.tobytes())
    np.testing.assert_array_equal(convert.read_torch_file(path), numbers)
    path.write_bytes(start + (3).to_bytes(8, "little") + numbers.tobytes())
    with pytest.raises(InputError, match="storage 0 has 3 numbers, not 4"):
        convert.read_torch_file(path)


def test_storages_within_storages_are_refused(tmp_path):
    def load(content):
        return b"\x80\x02ctorch.storage\n_load_from_bytes\n(B" + len(content).to_bytes(4, "little") + content + b"tR."

    (tmp_path / "a.pt").write_bytes(load(load(b"\x80\x02N.")))
    with pytest.raises(InputError, match="_load_from_bytes"):
        convert.read_torch_file(tmp_path / "a.pt")


def test_nesting_too_deep_for_python_is_no_crash(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"\x80\x02" + b")" + b"\x85" * 200_000 + b"0}" + b")" + b"\x85" * 200_000 + b"Ns.")
    with pytest.raises(InputError):
        convert.read_torch_file(tmp_path / "a.pt")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["views.pt", "views_legacy.pt", "ddp.pickle"])
def test_damage_anywhere_is_one_line_or_harmless(name, tmp_path):
    content, path = (FILES / name).read_bytes(), tmp_path / "a.pt"
    generator = np.random.default_rng(0)
    damaged = [content[: int(n)] for n in generator.integers(0, len(content), 60)]
    for position, bit in zip(generator.integers(0, len(content), 120), generator.integers(0, 8, 120), strict=True):
        damaged.append(content[:position] + bytes([content[position] ^ (1 << bit)]) + content[position + 1 :])
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            convert.read_torch_file(path, classes={DISTRIBUTION_NAME})
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017 - not every file is refused
    assert refused > 60


def test_numbers_that_changed_in_a_zip_file_are_refused(tmp_path):
    content = bytearray((FILES / "ddp.pt").read_bytes())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        offset = content.index(archive.read("ddp/data/1"))
    content[offset + 3] ^= 1
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pt is damaged.*CRC"):
        convert.read_ddp(tmp_path / "a.pt")
