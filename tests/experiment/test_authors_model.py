"""Models from the authors' files: their networks and priors, and the error when something is missing."""

import shutil

import numpy as np
import pytest
from parity import assert_close
from paths import GOLDENS

import fdrl_jax
from fdrl_jax import priors
from fdrl_jax.models import convert
from fdrl_jax.types import InputError

FILES = GOLDENS / "torch_files"

with np.load(FILES / "expected.npz") as _arrays:
    EXPECTED = dict(_arrays)
X = np.moveaxis(EXPECTED["full/x"], 1, -1)


@pytest.fixture
def files(tmp_path):
    """A folder with a file of the authors under one of their names, its network as safetensors, and a prior.npz."""
    shutil.copy(FILES / "full.pt", tmp_path / "cifar10_LSIF_Pearson.pt")
    network, _ = convert.read_checkpoint(FILES / "full.pt")
    convert.save_safetensors(tmp_path / "cifar10_LR_logD.safetensors", network)
    np.savez(tmp_path / "prior.npz", mean=np.zeros((8, 8, 3), np.float32), factor=0.3 * np.eye(192, dtype=np.float32))
    return tmp_path


@pytest.mark.parametrize(("ema", "weights"), [(True, "ema"), (False, "online")])
def test_an_authors_checkpoint_gives_their_outputs(ema, weights, files):
    model = fdrl_jax.load(files / "cifar10_LSIF_Pearson.pt", prior="uniform", ema=ema)
    # With the LSIF loss, the output of the network is the ratio.
    assert_close(model.ratio_fn(X), EXPECTED[f"full/{weights}"])
    config = model.experiment.config
    assert (config["loss"], config["divergence"]) == ("lsif", "chi2")
    assert model.step == 3  # The file stores the index of the last step, counted from 0.


def test_samples_start_from_the_given_prior(files):
    fitted = fdrl_jax.load(files / "cifar10_LSIF_Pearson.pt", prior=str(files / "prior.npz"))
    same = fdrl_jax.load(files / "cifar10_LSIF_Pearson.pt", prior=fitted.prior)
    samples = [fdrl_jax.sample(m, 0, 3, num_steps=2, progress=False) for m in (fitted, same)]
    assert samples[0].shape == (3, 8, 8, 3)
    np.testing.assert_array_equal(*samples)
    start = fdrl_jax.sample(fitted, 0, 200, num_steps=0, progress=False)
    assert abs(start.std() - 0.3) < 0.01
    assert fitted.experiment.config["flow"]["kappa"] == 20


def test_samples_of_a_uniform_prior_are_refined_for_fewer_steps(files):
    model = fdrl_jax.load(files / "cifar10_LSIF_Pearson.pt", prior="uniform")
    assert isinstance(model.prior, priors.Uniform)
    assert model.experiment.config["flow"]["kappa"] == 10


@pytest.mark.parametrize(
    ("name", "loss", "divergence"),
    [
        ("LR_logD", "lr", "logd"),
        ("KL_JS", "kliep", "js"),
        ("KL_KL", "kliep", "kl"),
        ("LR_KL", "lr", "kl"),
        ("LSIF_Pearson", "lsif", "chi2"),
    ],
)
def test_the_file_name_gives_the_loss_and_divergence_if_the_file_has_no_config(name, loss, divergence, files):
    path = files / f"celeba_{name}.safetensors"
    shutil.copy(files / "cifar10_LR_logD.safetensors", path)
    config = fdrl_jax.load(path, prior="uniform").experiment.config
    assert (config["loss"], config["divergence"]) == (loss, divergence)
    outputs = convert.load_safetensors(path)(X)
    ratios = outputs if loss == "lsif" else np.exp(outputs)
    assert_close(fdrl_jax.load(path, prior="uniform").ratio_fn(X), ratios)


def test_arguments_override_the_file_name(files):
    path = files / "cifar10_LR_logD.safetensors"
    config = fdrl_jax.load(path, prior="uniform", loss="lsif", divergence="chi2").experiment.config
    assert (config["loss"], config["divergence"]) == ("lsif", "chi2")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cifar10_LSIF_Pearson.pt", {}, "has no prior in it: pass prior='uniform'"),
        ("cifar10_LSIF_Pearson.pt", {"prior": "no.npz"}, "no.npz does not exist"),
        ("cifar10_LSIF_Pearson.pt", {"prior": FILES / "ddp.pt"}, "is over 12 numbers"),
        (
            "cifar10_LSIF_Pearson.pt",
            {"prior": priors.Uniform((4, 4, 3))},
            r"prior is of \(4, 4, 3\) and .* \(8, 8, 3\)",
        ),
        ("cifar10_LSIF_Pearson.pt", {"prior": "uniform", "step": 3}, "step = 3 is for a run's directory"),
        ("cifar10_LSIF_Pearson.pt", {"prior": "uniform", "loss": "lsiv"}, "config.loss = 'lsiv' must be one of"),
        ("net.safetensors", {"prior": "uniform"}, "net.safetensors does not say its loss: pass loss="),
        ("nothing.pt", {"prior": "uniform"}, "nothing.pt"),
        ("bare.pt", {"prior": "uniform", "loss": "lsif", "divergence": "chi2"}, "bare.pt: .*: pass image_size="),
    ],
)
def test_an_argument_that_is_missing_or_wrong_is_one_line(name, options, message, files):
    shutil.copy(files / "cifar10_LR_logD.safetensors", files / "net.safetensors")
    shutil.copy(FILES / "state_dict.pt", files / "bare.pt")
    with pytest.raises(InputError, match=message) as caught:
        fdrl_jax.load(files / name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eta": "three"}, "its config has eta = 'three', not a number"),
        ({"n_flow_steps": None}, "its config has n_flow_steps = None, not a number"),
        ({"loss_function": ["LSIF"]}, "does not say its loss"),
    ],
)
def test_a_config_with_a_value_of_another_type_is_one_line(changes, message, files, monkeypatch):
    network, config = convert.read_checkpoint(files / "cifar10_LSIF_Pearson.pt")
    monkeypatch.setattr(convert, "read_checkpoint", lambda path, ema, image_size: (network, config | changes))
    with pytest.raises(InputError, match=message):
        fdrl_jax.load(files / "cifar10_LSIF_Pearson.pt", prior="uniform")


def test_the_image_size_of_another_network_can_be_given():
    model = fdrl_jax.load(FILES / "state_dict.pt", prior="uniform", loss="lsif", divergence="chi2", image_size=8)
    assert model.experiment.event_shape == (8, 8, 3)
