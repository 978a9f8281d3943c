"""Networks in .safetensors files: an exact round trip, files of others, and damage.

Covers: `convert.safetensors_file`.
"""

import json

import jax
import numpy as np
import pytest
from authors_files import change, full, random_network
from parity import ARCHITECTURES

from fdrl_jax import models
from fdrl_jax.models import convert
from fdrl_jax.types import InputError

# The stages of the digits recipe, whose strides the authors' rules do not infer, and attention where the authors never
# have it.
OURS = convert.Architecture(
    8, (models.Stage(8, 1, 2), models.Stage(16, 1, 1), models.Stage(16, 1, 2)), 3, True, (8, 8, 1)
)


@pytest.mark.parametrize("architecture", [OURS, ARCHITECTURES["resnet64"]], ids=["ours", "table-3"])
def test_safetensors_round_trip_is_exact(architecture, tmp_path):
    network = random_network(architecture)
    convert.save_safetensors(tmp_path / "a.safetensors", network)
    loaded, config = convert.read_checkpoint(tmp_path / "a.safetensors")
    assert (loaded.architecture, config) == (architecture, {})
    jax.tree.map(np.testing.assert_array_equal, loaded.params, network.params)
    jax.tree.map(np.testing.assert_array_equal, loaded.spectral, network.spectral)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_architecture_of_other_files_is_inferred_from_names_and_shapes(tmp_path):
    from safetensors.numpy import save_file

    save_file(change(), tmp_path / "a.safetensors")
    network = convert.load_safetensors(tmp_path / "a.safetensors", image_size=8)
    assert network.architecture == full().architecture
    with pytest.raises(InputError, match=r"a\.safetensors: .*pass image_size="):
        convert.load_safetensors(tmp_path / "a.safetensors")


@pytest.mark.parametrize("damage", ["number", "cut", "header", "empty"])
def test_damaged_safetensors_are_refused(damage, tmp_path):
    path = tmp_path / "a.safetensors"
    convert.save_safetensors(path, full())
    content = bytearray(path.read_bytes())
    if damage == "number":
        content[-1000] ^= 1  # The format itself does not detect this.
    elif damage == "header":
        content[20] ^= 255
    else:
        content = content[: len(content) // 2 if damage == "cut" else 0]
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.safetensors is damaged"):
        convert.load_safetensors(path)


def test_metadata_that_does_not_fit_is_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "a.safetensors"
    for metadata in ("[]", "{}", "no json", json.dumps({"sha256": 1})):
        convert.save_safetensors(path, full())
        save_file(load_file(path), path, {"fdrl_jax": metadata})
        with pytest.raises(InputError, match="is damaged"):
            convert.load_safetensors(path)


def test_paths_that_cannot_be_written_or_read_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        convert.save_safetensors(tmp_path / "missing" / "a.safetensors", full())
    for path in (tmp_path, tmp_path / "missing.safetensors"):
        with pytest.raises(InputError, match="is not a file"):
            convert.load_safetensors(path)
