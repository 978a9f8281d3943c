"""An exported folder and hf:// addresses: files are read as they were written, and inconsistent ones are refused.

The export of a run, with damage to every file of the folder, is in `tests/inference/test_export.py`.
"""

import json
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shrink

import fdrl_jax
from fdrl_jax import priors
from fdrl_jax.experiment import builders, exported_model
from fdrl_jax.experiment.model import initial_state
from fdrl_jax.types import InputError


@pytest.fixture(scope="module")
def digits():
    return builders.build(shrink.tiny_digits())


def write(folder, experiment, prior=None, ema=True):
    folder.mkdir()
    weights = experiment.method.weights(initial_state(experiment), ema)
    exported_model.write(folder, experiment.config, weights, prior or {}, step=7, ema=ema)
    return weights


def gaussian():
    return {"mean": np.zeros((8, 8, 1), np.float32), "factor": 0.3 * np.eye(64, dtype=np.float32)}


@pytest.mark.parametrize("ema", [True, False])
def test_a_model_is_read_as_it_was_written(ema, digits, tmp_path):
    weights = write(tmp_path / "model", digits, gaussian(), ema)
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "config.json",
        "model.safetensors",
        "prior.safetensors",
    }
    model = fdrl_jax.load(tmp_path / "model", ema=ema)
    jax.tree.map(np.testing.assert_array_equal, model.params, weights)
    np.testing.assert_array_equal(model.prior.factor, gaussian()["factor"])
    assert model.step == 7
    assert model.experiment.config == digits.config
    with pytest.raises(InputError, match=f"pass ema={ema}"):
        exported_model.read(tmp_path / "model", not ema)


def test_a_prior_without_arrays_has_no_file(experiment, tmp_path):
    write(tmp_path / "model", experiment)
    assert not (tmp_path / "model" / "prior.safetensors").exists()
    assert isinstance(exported_model.read(tmp_path / "model").prior, priors.Normal)


def test_weights_are_named_by_their_paths():
    arrays = exported_model.named({"Stem": {"kernel": jnp.ones(2)}, "head": {"bias": jnp.zeros(())}})
    assert set(arrays) == {"Stem.kernel", "head.bias"}


def test_a_run_is_not_an_exported_model(run, experiment, tmp_path):
    write(tmp_path / "model", experiment)
    assert exported_model.is_exported(tmp_path / "model")
    assert not exported_model.is_exported(run)
    assert not exported_model.is_exported(tmp_path / "none")


def test_weights_of_another_network_are_refused(experiment, tmp_path):
    config = shrink.tiny_points()
    config.model.width = (8, 9)
    write(tmp_path / "model", experiment)
    write(tmp_path / "other", builders.build(config))
    (tmp_path / "other" / "model.safetensors").rename(tmp_path / "model" / "model.safetensors")
    message = r"model\.safetensors: Dense_1\.bias is float32 \(9,\) there and float32 \(8,\) by config\.json"
    with pytest.raises(InputError, match=message):
        exported_model.read(tmp_path / "model")


def test_a_prior_that_is_missing_is_named_by_its_file(digits, tmp_path):
    write(tmp_path / "model", digits)
    with pytest.raises(InputError, match=r"has nothing as 'mean'.*: restore .*model/prior\.safetensors"):
        exported_model.read(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 0}, r"is not the config of an exported model \(ValueError: format = 0\)"),
        ({"format": 2}, "is of format 2, made by a newer fdrl_jax"),
        ({"ema": 1}, "ema = 1"),
    ],
)
def test_another_config_file_is_refused(change, message, experiment, tmp_path):
    write(tmp_path / "model", experiment)
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        exported_model.read(tmp_path / "model")


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """Replace huggingface_hub by a stand-in that returns `tmp_path`, and return the list of its calls."""
    calls = []

    def snapshot_download(repo_id, *, revision=None, allow_patterns=None):
        calls.append((repo_id, revision, allow_patterns))
        if repo_id != "anna/digits":
            raise OSError("404 Client Error\nRepository Not Found")
        return str(tmp_path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    return calls


@pytest.mark.parametrize(("address", "revision"), [("hf://anna/digits", None), ("hf://anna/digits@v1.0", "v1.0")])
def test_an_address_is_a_repository_and_a_revision(address, revision, downloads, tmp_path):
    assert exported_model.fetch(address) == tmp_path
    assert downloads == [("anna/digits", revision, ["config.json", "model.safetensors", "prior.safetensors"])]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://anna", "hf://anna must be hf://USER/NAME or hf://USER/NAME@REVISION"),
        ("hf://anna/digits/x", "must be hf://USER/NAME"),
        ("hf://anna/other", r"hf://anna/other cannot be downloaded \(404 Client Error\): check the name"),
    ],
)
def test_an_address_without_a_model_is_refused(address, message, downloads):
    with pytest.raises(InputError, match=message):
        exported_model.fetch(address)


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"pip install 'fdrl_jax\[hub\]'"):
        exported_model.fetch("hf://anna/digits")
