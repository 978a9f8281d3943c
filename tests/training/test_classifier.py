"""Training of classifiers: the attack, accuracy, workdirs, and wrong configs."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny_classifier import config as tiny

import fdrl_jax
from configs import classifier as classifier_config
from fdrl_jax import cli
from fdrl_jax.experiment import builders
from fdrl_jax.inference import classifiers
from fdrl_jax.training import classifier as training
from fdrl_jax.types import DivergedError, InputError


def linear(x):
    """Logits of two classes on the two sides of the plane w x = 0, |w| = 1: the nearest wrong image is |w x| away."""
    s = 10 * x.sum(axis=(1, 2, 3)) / 8
    return jnp.stack([-s, s], axis=1)


def test_the_attack_finds_the_nearest_wrong_image():
    x = jnp.zeros((2, 8, 8, 1)) + jnp.array([0.05, 0.15])[:, None, None, None]  # Distances 0.4 and 1.2 from the plane.
    made = training.attack(linear, x, jnp.array([1, 1]), jax.random.key(0), 0.8, 7)
    distance = np.sqrt(np.square(made - x).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(distance, 0.8, rtol=1e-3)
    assert linear(made).argmax(axis=1).tolist() == [0, 1]
    # The attack moves along the normal of the plane, up to what the last step leaves of the random start.
    assert ((made - x).sum(axis=(1, 2, 3)) / (8 * distance) < -0.95).all()


def test_the_attack_stays_in_range():
    x = jnp.ones((1, 8, 8, 1)) * jnp.where(jnp.arange(8) % 2, 1.0, -1.0)[:, None]
    made = training.attack(linear, x, jnp.array([0]), jax.random.key(0), 2.0, 5)
    assert np.abs(made).max() <= 1
    assert np.sqrt(np.square(made - x).sum()) <= 2.001


def test_accuracy_in_units_of_the_literature():
    """Pixels of 0.1 in [-1, 1] (0.55 in [0, 1]) are 0.8 away from the plane, which is 0.4 in the units of `eps`."""
    images = np.full((3, 8, 8, 1), 0.1, np.float32)
    known = classifiers.classifier_from_function(linear)
    labels = np.array([1, 1, 0])
    assert training.accuracy(known, images, labels) == pytest.approx(2 / 3)
    assert training.accuracy(known, images, labels, eps=0.39) == pytest.approx(2 / 3)
    assert training.accuracy(known, images, labels, eps=0.41) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("classifier") / "run"
    return workdir, training.train_classifier(tiny(), workdir, progress=False)


def test_training_learns_and_stores(trained):
    workdir, result = trained
    assert json.loads((workdir / "accuracy.json").read_text()) == result
    assert set(result) == {"num_images", "clean", "eps", "robust"}
    assert result["num_images"] == 60
    assert result["clean"] > 0.3  # Chance is 0.1, and there were 90 steps.
    assert result["robust"] <= result["clean"]
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [30, 60, 90]
    assert rows[-1]["loss"] < rows[0]["loss"]

    known = fdrl_jax.load_classifier(workdir)
    images, labels = builders.labelled(builders.normalise(tiny())["data"], held_out=True)
    chosen = np.random.default_rng(0).permutation(len(images))[:60]
    assert training.accuracy(known, images[chosen], labels[chosen]) == result["clean"]


def test_a_trained_classifier_is_not_trained_again(trained, capsys):
    workdir, result = trained
    before = (workdir / "classifier.npz").read_bytes()
    assert training.train_classifier(tiny(), workdir, progress=False) == result
    assert "nothing to do" in capsys.readouterr().out
    assert (workdir / "classifier.npz").read_bytes() == before
    with pytest.raises(InputError, match="belongs to another experiment"):
        training.train_classifier(tiny(num_steps=91), workdir, progress=False)


def test_a_classifier_belongs_to_its_config_after_the_data_was_moved(trained, tmp_path):
    workdir, result = trained
    shutil.copytree(workdir, tmp_path / "run")
    stored = json.loads((workdir / "config.json").read_text())
    stored["data"] = {**classifier_config.get_config("fashion_mnist").to_dict()["data"], "path": "elsewhere"}
    (tmp_path / "run" / "config.json").write_text(json.dumps(stored))
    config = tiny()
    config.data = classifier_config.get_config("fashion_mnist").data
    assert training.train_classifier(config, tmp_path / "run", progress=False) == result


def test_the_same_seed_gives_the_same_classifier(trained, tmp_path):
    training.train_classifier(tiny(), tmp_path, progress=False)
    jax.tree.map(
        np.testing.assert_array_equal,
        fdrl_jax.load_classifier(tmp_path).params,
        fdrl_jax.load_classifier(trained[0]).params,
    )


def test_a_plain_classifier_has_no_robust_accuracy(tmp_path, capsys):
    result = training.train_classifier(tiny("digits-plain", num_steps=2), tmp_path, progress=False)
    assert set(result) == {"num_images", "clean"}
    assert "attacked" not in capsys.readouterr().out


def test_the_command_line_trains(tmp_path, capsys):
    flags = ("--mode=train_classifier", "--config=configs/classifier.py:digits-plain", f"--workdir={tmp_path}/c")
    small = ("--config.train.num_steps=1", "--config.train.num_held_out=5", "--config.data.batch_size=8")
    assert cli.run(["main.py", *flags, *small]) == 0
    assert "accuracy on 5 held-out images" in capsys.readouterr().out
    assert fdrl_jax.load_classifier(tmp_path / "c").num_classes((8, 8, 1)) == 10


def test_divergence_stops_training(tmp_path):
    config = tiny()
    config.optimizer.learning_rate = 1e30
    with pytest.raises(DivergedError, match="diverged before step"):
        training.train_classifier(config, tmp_path, progress=False)
    with pytest.raises(InputError, match="holds no trained classifier"):
        fdrl_jax.load_classifier(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.attack.update(eps=-1.0), "config.attack.eps = -1.0 must be a finite number at least 0"),
        (lambda c: c.model.update(classes=5), "config.model.classes = 5, and there are labels up to 9"),
        (lambda c: c.data.update(holdout=0), "no digits are held out"),
        (lambda c: c.train.update(keep=1), "config.train.keep is not a field"),
        (lambda c: c.__delattr__("attack"), "config has no group 'attack'"),
        (
            lambda c: c.update(data=dict(name="swissroll", batch_size=8)),
            "config.data.name = 'swissroll' must be one of",
        ),
    ],
)
def test_bad_configs(tmp_path, change, message):
    config = ConfigDict(tiny().to_dict())
    change(config)
    with pytest.raises(InputError, match=message):
        training.train_classifier(config, tmp_path / "new", progress=False)
    assert not (tmp_path / "new").exists()


def test_labels_go_with_their_images():
    """Digits have their own labels, and the parts for training and for measuring are disjoint."""
    data = builders.normalise(tiny())["data"]
    images, labels = builders.labelled(data)
    held_out, held_out_labels = builders.labelled(data, held_out=True)
    assert (len(images), len(held_out)) == (1500, 297)
    whole, classes = fdrl_jax.data.digits().examples, fdrl_jax.data.digits_labels()
    by_image = {image.tobytes(): label for image, label in zip(whole, classes, strict=True)}
    for x, y in ((images, labels), (held_out, held_out_labels)):
        assert [by_image[image.tobytes()] for image in x] == y.tolist()
