"""The robustness library's ResNet-50 against the same network in PyTorch (tests/goldens/make_robust_resnet50.py).

Covers: `classifiers.robust_resnet50`.
"""

import functools
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import robust_resnet50_inputs as inputs
import safetensors.numpy
from parity import assert_close
from paths import GOLDENS

import fdrl_jax
from fdrl_jax.inference.classifiers import robust_resnet50
from fdrl_jax.models import convert
from fdrl_jax.types import InputError

DATA = GOLDENS


@functools.cache
def golden():
    with np.load(DATA / "robust_resnet50.npz") as arrays:
        return dict(arrays)


@functools.cache
def tensors():
    return inputs.state_dict(robust_resnet50.shapes())


def test_the_tensors_have_pytorchs_names():
    assert set(robust_resnet50.shapes()) == set(golden()["names"])


@pytest.mark.slow
def test_logits_agree_with_pytorch():
    assert_close(
        robust_resnet50.logits(robust_resnet50.convert(tensors()), jnp.asarray(inputs.images())), golden()["logits"]
    )


@pytest.mark.slow
def test_the_gradient_agrees_with_pytorch():
    """Compare the gradient of log p(3 | x) in float64: in float32, activations within rounding of zero change sides."""
    with jax.enable_x64(True):
        params = robust_resnet50.convert(tensors(), jnp.float64)

        def log_prob(x):
            return jax.nn.log_softmax(robust_resnet50.logits(params, x))[:, 3].sum()

        gradient = jax.grad(log_prob)(jnp.asarray(inputs.images(), jnp.float64))
    assert_close(gradient, golden()["gradient"])


@pytest.mark.parametrize("prefix", ["module.model.", "model.", "module.", ""])
def test_files_of_the_library(tmp_path, prefix):
    """Every prefix that the library writes is read, the attacker's copy is ignored, and the normalizer is used."""
    named = {prefix + name: tensor for name, tensor in tensors().items()}
    scale = 0.5
    if prefix == "module.model.":
        named |= {"module.attacker.model.conv1.weight": np.zeros(3, np.float32)}
        named |= {
            f"module.normalizer.new_{key}": scale * np.float32(value)[:, None, None]
            for key, value in (("mean", robust_resnet50.MEAN), ("std", robust_resnet50.DEVIATION))
        }
    params = robust_resnet50.convert({"model": named, "epoch": 150} if prefix else named)
    expected_params = robust_resnet50.convert(tensors())
    jax.tree.map(np.testing.assert_array_equal, params["conv1"], expected_params["conv1"])
    factor = scale if prefix == "module.model." else 1
    np.testing.assert_allclose(params["mean"], factor * np.float32(robust_resnet50.MEAN), rtol=1e-6)
    np.testing.assert_allclose(params["deviation"], factor * np.float32(robust_resnet50.DEVIATION), rtol=1e-6)


def test_a_file_is_loaded_as_a_classifier(tmp_path):
    path = tmp_path / "network.safetensors"
    safetensors.numpy.save_file(tensors(), path)
    classifier = fdrl_jax.load_classifier(path)
    assert classifier.num_classes((32, 32, 3)) == 10
    with pytest.raises(InputError, match=r"cannot take images .*takes images \[32, 32, 3\], not \[8, 8, 1\]"):
        classifier.num_classes((8, 8, 1))


@pytest.mark.parametrize("name", ["robustness.pt", "robustness_legacy.pt"])
def test_checkpoints_with_code_in_them_are_read_and_not_run(name):
    """The library saves a function of the learning rate with dill. The tensors are read; the function is not run."""
    with pytest.raises(InputError, match=r"refers to 'dill\._dill\._create_type', and only tensors .* never code"):
        convert.read_torch_file(DATA / name)
    content = convert.read_torch_file(DATA / name, opaque=True)
    assert content["epoch"] == 150
    np.testing.assert_allclose(content["adv_prec1"], 60.1, rtol=1e-6)
    assert content["model"]["module.0.weight"].shape == (3, 2)
    assert content["schedule"]["lr_lambdas"][0].attributes == {}
    with pytest.raises(InputError, match=rf"{name}: tensor 'conv1.weight' is missing: it is not the robustness"):
        fdrl_jax.load_classifier(DATA / name)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    victim = tmp_path / "made"

    class Attack:
        def __reduce__(self):
            return (Path.touch, (victim,))

    path = tmp_path / "attack.pt"
    path.write_bytes(pickle.dumps({"model": {}, "schedule": Attack()}, protocol=2))
    assert convert.read_torch_file(path, opaque=True)["schedule"].attributes == {}
    with pytest.raises(InputError, match=r"'conv1.weight' is missing"):
        fdrl_jax.load_classifier(path)
    assert not victim.exists()


def test_other_networks_are_refused(tmp_path):
    name = "layer2.0.shortcut.0.weight"
    wrong = tensors() | {name: tensors()[name][:, :5]}
    with pytest.raises(InputError, match=rf"{name}' is of shape \[512, 5, 1, 1\], not of shape \[512, 256, 1, 1\]"):
        robust_resnet50.convert(wrong)
    with pytest.raises(InputError, match=r"deviation .* not three numbers"):
        robust_resnet50.convert(tensors() | {"normalizer.new_std": np.zeros(3, np.float32)})
    path = tmp_path / "list.pt"
    path.write_bytes(pickle.dumps([1, 2], protocol=2))
    with pytest.raises(InputError, match=r"list.pt: it holds a list, not tensors"):
        fdrl_jax.load_classifier(path)
    with pytest.raises(InputError, match=r"missing.pt is not a file"):
        fdrl_jax.load_classifier(tmp_path / "missing.pt")
