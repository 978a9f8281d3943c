"""Classifiers: functions as classifiers, and what `load_classifier` reads from workdirs and Python files.

Covers: `classifiers.base`, `classifiers.loading`, `classifiers.trained`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_classifier

import fdrl_jax
from configs import classifier as classifier_config
from fdrl_jax.inference import classifiers
from fdrl_jax.inference.classifiers import trained
from fdrl_jax.types import InputError


def brightness(x):
    """Logits of two classes of images: 0 is dark, 1 is bright."""
    mean = x.mean(axis=(1, 2, 3))
    return jnp.stack([-mean, mean], axis=1)


def test_a_function_is_a_classifier():
    x = jax.random.uniform(jax.random.key(0), (3, 8, 8, 1), minval=-1.0)
    classifier = classifiers.classifier_from_function(brightness, "bright")
    np.testing.assert_allclose(classifier(x), brightness(x), rtol=1e-6)
    assert classifier.num_classes((8, 8, 1)) == classifier.num_classes((5, 6, 3)) == 2
    assert classifier.name == "bright"


def test_a_function_of_a_python_file_is_loaded(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import jax.numpy as jnp\ndef f(x):\n    return jnp.stack([x.sum((1, 2, 3))] * 4, 1)\n")
    classifier = fdrl_jax.load_classifier(f"{path}:f")
    assert classifier.num_classes((8, 8, 1)) == 4
    np.testing.assert_allclose(classifier(jnp.ones((2, 8, 8, 1))), np.full((2, 4), 64.0))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing", "classifier missing does not exist: give the workdir of --mode=train_classifier"),
        ("missing.pt", "classifier missing.pt is not a file"),
        ("missing.py:f", "missing.py is not a Python file"),
    ],
)
def test_a_path_without_a_classifier_is_refused(path, message):
    with pytest.raises(InputError, match=message):
        fdrl_jax.load_classifier(path)


def test_a_saved_classifier_is_loaded_with_its_parameters(tmp_path):
    classifier = fdrl_jax.load_classifier(tiny_classifier.saved(tmp_path))
    config = trained.normalise(tiny_classifier.config())
    assert classifier.event_shape == trained.event_shape(config) == (8, 8, 1)
    assert classifier.num_classes((8, 8, 1)) == 10
    params = tiny_classifier.initial_params(config)
    jax.tree.map(np.testing.assert_array_equal, classifier.params, params)
    x = jax.random.uniform(jax.random.key(0), (3, 8, 8, 1), minval=-1.0)
    np.testing.assert_allclose(classifier(x), trained.network(config).logits(params, x), atol=1e-6)


def test_a_folder_without_parameters_is_refused(tmp_path):
    tiny_classifier.saved(tmp_path)
    (tmp_path / "classifier.npz").unlink()
    with pytest.raises(InputError, match=r"holds no trained classifier \(no classifier.npz in it\)"):
        fdrl_jax.load_classifier(tmp_path)


@pytest.mark.parametrize("variant", classifier_config.VARIANTS)
def test_shipped_configs_are_valid(variant):
    config = trained.normalise(classifier_config.get_config(variant))
    assert bool(config["attack"]["eps"]) != variant.endswith("plain")


def test_damaged_weights_are_named(tmp_path):
    tiny_classifier.saved(tmp_path)
    with np.load(tmp_path / "classifier.npz") as arrays:
        stored = dict(arrays)
    name = "['head']['bias']"
    np.savez(tmp_path / "classifier.npz", **(stored | {name: stored[name][:3]}))
    with pytest.raises(InputError, match=r"no finite float32 \[10\] as \['head'\]\['bias'\]: restore it"):
        fdrl_jax.load_classifier(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json cannot be used"):
        fdrl_jax.load_classifier(tmp_path)
