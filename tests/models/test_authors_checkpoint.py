"""The authors' checkpoints: bare state_dicts, and files that are not checkpoints.

Covers: `convert.authors_checkpoint`.
"""

import pickle
import zipfile

import numpy as np
import pytest
from authors_files import EXPECTED, FILES
from parity import assert_close, nhwc

from fdrl_jax.models import convert
from fdrl_jax.types import InputError


@pytest.mark.parametrize("name", ["state_dict.pt", "state_dict_legacy.pt"])
def test_a_bare_state_dict_is_a_network(name):
    network, config = convert.read_checkpoint(FILES / name, image_size=8)
    assert_close(network(nhwc(EXPECTED["plain/x"])), EXPECTED["plain/online"])
    assert config == {}


def checkpoint_with(tmp_path, **entries):
    """Write a checkpoint with `entries`, which are plain values."""
    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps({"step": 1} | entries, 2))
    return path


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"model": [1]}, r"a\.pt: 'model' is a list, not a state_dict"),
        ({"model": {}, "config": [1], "ema": {}}, r"a\.pt: 'config' is a list, not a dict"),
        ({"model": {"conv1.weight": 1.0}}, r"a\.pt: there are no averaged parameters \('ema'\).*ema=False"),
        ({"model": {"conv1.weight": 1.0}, "ema": {}}, r"a\.pt: entry 'conv1\.weight' is missing from 'ema'"),
        ({"model": {"conv1.weight": 1.0}, "ema": {"conv1.weight": 1.0}}, r"a\.pt: entry 'conv1\.weight' is float"),
        ({"weights": 1.0}, r"a\.pt: entry 'step' is int, not an array"),
    ],
)
def test_another_dict_is_no_checkpoint(entries, message, tmp_path):
    with pytest.raises(InputError, match=message):
        convert.read_checkpoint(checkpoint_with(tmp_path, **entries))


def test_files_of_other_kinds_are_refused(tmp_path):
    (tmp_path / "text.pt").write_text("This is no checkpoint.\n")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "list.pt").write_bytes(pickle.dumps([1]))
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    np.save(tmp_path / "array.npy", np.ones(3))
    for name, message in (
        ("text.pt", r"text\.pt is damaged, or not a file of torch\.save"),
        ("empty.pt", r"empty\.pt is damaged, or not a file of torch\.save"),
        ("zip.pt", r"zip\.pt is damaged, or not a file of torch\.save \(a zip file without a data\.pkl\)"),
        ("array.npy", r"array\.npy is damaged, or not a file of torch\.save"),
        ("list.pt", r"list\.pt holds a list, not a checkpoint or state_dict"),
        ("missing.pt", r"missing\.pt cannot be read \(No such file"),
        ("", r"cannot be read \(Is a directory"),
    ):
        with pytest.raises(InputError, match=message) as error:
            convert.read_checkpoint(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"ddp\.pt is refused: it refers to 'torch\.distributions"):
        convert.read_checkpoint(FILES / "ddp.pt")
