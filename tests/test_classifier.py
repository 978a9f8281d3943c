"""Classifiers: sampling of a class, training with attacks, and what is stored."""

import dataclasses
import json
import shutil

import hlo
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shrink
from ml_collections import ConfigDict

import fdrl_jax
import main
from configs import classifier as classifier_config
from fdrl_jax import builders, classifiers, rng, sampling, steps
from fdrl_jax.classifiers import train as training
from fdrl_jax.types import DivergedError, InputError


def brightness(x):
    """Class 1 is bright, class 0 is dark, for digits."""
    mean = x.mean(axis=(1, 2, 3)) + 0.4
    return jnp.stack([-20 * mean, 20 * mean], axis=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("digits")
    config = shrink.tiny_digits()
    config.loss, config.divergence = "lr", "kl"
    shrink.trained(config, workdir)
    return workdir


@pytest.fixture(scope="module")
def model(run):
    return fdrl_jax.load(run)


def sample(model, n, **kwargs):
    return fdrl_jax.sample(model, 0, n, progress=False, **kwargs)


# --- Sampling ---


def test_samples_go_to_the_class(model):
    dark, plain, bright = (
        sample(model, 8, label=label, classifier=brightness, scale=scale).mean(axis=(1, 2, 3))
        for label, scale in ((0, 0.3), (0, 0.0), (1, 0.3))
    )
    assert (dark < bright - 0.1).all()
    assert dark.mean() < plain.mean() < bright.mean()
    np.testing.assert_allclose(plain, sample(model, 8).mean(axis=(1, 2, 3)), atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_sample_i_is_a_function_of_seed_index_and_label(model, batch_size):
    labels = np.array([0, 1, 1, 0, 1, 0, 0])
    expected = sample(model, 7, label=labels, classifier=brightness, scale=0.3)
    made = sample(model, 7, label=labels, classifier=brightness, scale=0.3, batch_size=batch_size)
    np.testing.assert_allclose(made, expected, atol=2e-5)
    ones = sample(model, 3, label=1, classifier=brightness, scale=0.3)
    np.testing.assert_allclose(ones[1:], expected[1:3], atol=2e-5)
    assert np.abs(ones[0] - expected[0]).max() > 0.01


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_a_sample_starts_from_its_likeliest_candidate(model, batch_size):
    labels, root = np.array([0, 1, 1, 0, 1]), jax.random.key(0)
    draws = np.stack(
        [
            model.prior.sample(rng.per_sample(rng.stream(key, "prior"), 5))
            for key in (root, *(rng.stream(root, "candidate", j) for j in (1, 2, 3)))
        ]
    )
    bright = draws.mean(axis=(2, 3, 4))
    best = np.where(labels == 1, bright.argmax(axis=0), bright.argmin(axis=0))
    assert len(set(best)) > 2  # Of four: the test means something.
    condition = classifiers.condition(brightness, labels, 0.3, 5, (8, 8, 1), candidates=4)
    _, states = sampling.trajectory(model, 0, 5, every=2, batch_size=batch_size, progress=False, condition=condition)
    np.testing.assert_allclose(states[0], draws[best, np.arange(5)], atol=1e-6)
    made = sample(model, 5, label=labels, classifier=brightness, scale=0.3, batch_size=batch_size, candidates=4)
    np.testing.assert_allclose(made, states[-1], atol=2e-5)


def test_one_candidate_is_the_paper(model):
    one, default = (sample(model, 3, label=1, classifier=brightness, **kw) for kw in ({"candidates": 1}, {}))
    np.testing.assert_array_equal(one, default)
    condition = classifiers.condition(brightness, 1, 0.3, 3, (8, 8, 1))
    _, states = sampling.trajectory(model, 0, 3, every=5, progress=False, condition=condition)
    _, free = sampling.trajectory(model, 0, 3, every=5, progress=False)
    np.testing.assert_array_equal(states[0], free[0])


def test_both_parameterisations(model, tmp_path):
    shrink.trained(shrink.tiny_digits(), tmp_path)
    ratio = fdrl_jax.load(tmp_path)
    assert ratio.experiment.recipe.estimator.parameterisation == "ratio"
    dark, bright = (sample(ratio, 8, label=y, classifier=brightness).mean(axis=(1, 2, 3)) for y in (0, 1))
    assert (dark < bright - 0.02).all()


def test_the_trajectory_ends_at_the_sample(model):
    condition = classifiers.condition(brightness, 1, 0.3, 3, (8, 8, 1))
    _, states = sampling.trajectory(model, 0, 3, every=2, progress=False, condition=condition)
    np.testing.assert_allclose(states[-1], sample(model, 3, label=1, classifier=brightness, scale=0.3), atol=2e-5)


def test_another_scale_is_not_another_compilation(model):
    sample(model, 4, label=1, classifier=brightness, scale=0.1)
    before = fdrl_jax.sampling.steps.advance.num_compiled()
    sample(model, 4, label=0, classifier=brightness, scale=0.2)
    assert fdrl_jax.sampling.steps.advance.num_compiled() == before


def test_a_flow_that_diverges_says_so(model):
    with pytest.raises(InputError, match="the flow to the class diverged: use a smaller scale"):
        sample(model, 2, label=1, classifier=lambda x: 1e30 * brightness(x) ** 3, scale=1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(label=[0, -1], classifier=brightness), "label = -1 is none of"),
        (dict(label=0.5, classifier=brightness), "label = 0.5 must be a class"),
        (dict(label=1, classifier=brightness, scale=-1.0), "scale = -1.0 must be a number of at least 0"),
        (dict(label=1, classifier=brightness, scale=float("nan")), "scale = nan must be"),
        (dict(label=1, classifier=brightness, candidates=10**11), "candidates = 100000000000 must be an integer"),
        (dict(label=[[0, 1], [1]], classifier=brightness), "must be a class, 0 to 1, or a sequence"),
        (dict(candidates=4), "scale = 0.1 and candidates = 4 are of a class"),
        (
            dict(label=1, classifier=dataclasses.replace(classifiers.of_function(brightness), event_shape=(32, 32, 1))),
            r"knows images \[32, 32, 1\], and these are \[8, 8, 1\]",
        ),
        (dict(label=1, classifier=brightness, candidates=2.0), "candidates = 2.0 must be an integer"),
        (dict(label=1, classifier=lambda x: x), r"gives float32 \[5, 8, 8, 1\] for 5 images, not float logits"),
        (dict(label=1, classifier=lambda x: np.asarray(x)), r"cannot take images \[8, 8, 1\]"),
        (dict(label=1, classifier="missing"), "classifier missing is not there"),
    ],
)
def test_bad_arguments(model, arguments, message):
    function = fdrl_jax.sample.__wrapped__  # Around the run-time checks of the tests.
    with pytest.raises(InputError, match=message):
        function(model, 0, 2, progress=False, **arguments)


# --- The command line ---


@pytest.fixture
def function_file(tmp_path):
    path = tmp_path / "mine.py"
    code = ("import jax.numpy as jnp", "def f(x):")
    code += (" m = x.mean(axis=(1, 2, 3)) + 0.4", " return jnp.stack([-20*m, 20*m], 1)")
    path.write_text("\n".join(code))
    return f"{path}:f"


def command(*flags):
    return main.run(["main.py", "--mode=sample", *flags])


def test_labels_go_round_and_are_stored(run, model, function_file, tmp_path):
    out = tmp_path / "samples.npz"
    flags = (f"--workdir={run}", f"--classifier={function_file}", "--scale=0.3", f"--out={out}")
    assert command(*flags, "--label=all", "--num_samples=5") == 0
    with np.load(out) as arrays:
        stored = dict(arrays)
    assert stored["labels"].tolist() == [0, 1, 0, 1, 0]
    kappa = model.experiment.flow_length()
    expected = sample(model, 5, label=[0, 1, 0, 1, 0], classifier=brightness, scale=0.3, num_steps=kappa)
    np.testing.assert_allclose(stored["samples"], expected, atol=2e-5)
    assert command(*flags, "--label=all", "--num_samples=5", "--candidates=3") == 0
    expected = sample(model, 5, label=[0, 1, 0, 1, 0], classifier=brightness, scale=0.3, num_steps=kappa, candidates=3)
    with np.load(out) as arrays:
        np.testing.assert_allclose(arrays["samples"], expected, atol=2e-5)
    assert command(*flags, "--label=1,0", "--num_samples=3", "--every=2") == 0
    with np.load(out) as arrays:
        assert arrays["labels"].tolist() == [1, 0, 1]
    assert command(*flags[:-1], f"--out={tmp_path}/folder/", "--label=1", "--num_samples=2") == 0


def test_a_grid_has_one_row_a_class(run, function_file, tmp_path, monkeypatch):
    shown = {}

    def grid(images, columns):
        shown.update(x=images, c=columns)
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr(fdrl_jax.pictures, "image_grid", grid)
    images = np.arange(5, dtype=np.float32)[:, None, None, None] / 10
    fdrl_jax.pictures.class_grid(images, np.array([7, 2, 2, 7, 2]))
    assert shown["c"] == 3
    np.testing.assert_allclose(shown["x"].ravel(), [0.1, 0.2, 0.4, 0.0, 0.3, 1.0])  # White where a row is short.


def test_a_grid_of_one_class_is_one_of_images():
    images = np.random.default_rng(0).uniform(-1, 1, (25, 4, 4, 1)).astype(np.float32)
    one = fdrl_jax.pictures.class_grid(images, np.full(25, 3))
    np.testing.assert_array_equal(one, fdrl_jax.pictures.image_grid(images))


# --- Attacks and training ---


def linear(x):
    """Two classes on either side of the plane w x = 0, with |w| = 1: the nearest wrong image is |w x| away."""
    s = 10 * x.sum(axis=(1, 2, 3)) / 8
    return jnp.stack([-s, s], axis=1)


def test_the_attack_finds_the_nearest_wrong_image():
    x = jnp.zeros((2, 8, 8, 1)) + jnp.array([0.05, 0.15])[:, None, None, None]  # 0.4 and 1.2 from the plane.
    made = training.attack(linear, x, jnp.array([1, 1]), jax.random.key(0), 0.8, 7)
    distance = np.sqrt(np.square(made - x).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(distance, 0.8, rtol=1e-3)
    assert linear(made).argmax(axis=1).tolist() == [0, 1]
    # The normal of the plane, with what the last step leaves of the random start.
    assert ((made - x).sum(axis=(1, 2, 3)) / (8 * distance) < -0.95).all()


def test_the_attack_stays_in_range():
    x = jnp.ones((1, 8, 8, 1)) * jnp.where(jnp.arange(8) % 2, 1.0, -1.0)[:, None]
    made = training.attack(linear, x, jnp.array([0]), jax.random.key(0), 2.0, 5)
    assert np.abs(made).max() <= 1
    assert np.sqrt(np.square(made - x).sum()) <= 2.001


def test_accuracy_in_units_of_the_literature():
    """Pixels of 0.55 in [0, 1] are 0.1 in [-1, 1]: 0.8 from the plane, so 0.4 in the units of `eps`."""
    images = np.full((3, 8, 8, 1), 0.1, np.float32)
    known = classifiers.of_function(linear)
    labels = np.array([1, 1, 0])
    assert training.accuracy(known, images, labels) == pytest.approx(2 / 3)
    assert training.accuracy(known, images, labels, eps=0.39) == pytest.approx(2 / 3)
    assert training.accuracy(known, images, labels, eps=0.41) == 0


def tiny(variant="digits", **train):
    config = classifier_config.get_config(variant)
    config.model.update(stem=4, stages=((8, 1, 2),))
    config.attack.num_steps = 2
    config.data.batch_size = 32
    config.optimizer.update(learning_rate=1e-2, decay_steps=())
    config.train.update(dict(num_steps=90, log_every=30, num_held_out=60) | train)
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("classifier") / "run"
    return workdir, training.train_classifier(tiny(), workdir, progress=False)


def test_training_learns_and_stores(trained):
    workdir, result = trained
    assert json.loads((workdir / "accuracy.json").read_text()) == result
    assert set(result) == {"num_images", "clean", "eps", "robust"}
    assert result["num_images"] == 60
    assert result["clean"] > 0.3  # Of ten classes, after 90 steps.
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


def test_a_classifier_is_its_own_where_the_data_was_moved(trained, tmp_path):
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
    assert main.run(["main.py", *flags, *small]) == 0
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


@pytest.mark.parametrize("variant", classifier_config.VARIANTS)
def test_shipped_configs_are_right(variant):
    config = classifiers.trained.normalise(classifier_config.get_config(variant))
    assert bool(config["attack"]["eps"]) != variant.endswith("plain")


def test_damaged_weights_are_named(trained, tmp_path):
    workdir, _ = trained
    (tmp_path / "config.json").write_bytes((workdir / "config.json").read_bytes())
    with np.load(workdir / "classifier.npz") as arrays:
        stored = dict(arrays)
    name = "['head']['bias']"
    np.savez(tmp_path / "classifier.npz", **(stored | {name: stored[name][:3]}))
    with pytest.raises(InputError, match=r"no finite float32 \[10\] as \['head'\]\['bias'\]: restore it"):
        fdrl_jax.load_classifier(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json cannot be used"):
        fdrl_jax.load_classifier(tmp_path)


def test_labels_go_with_their_images():
    """Digits by their own labels; and the parts for training and for measuring are disjoint."""
    data = builders.normalise(tiny())["data"]
    images, labels = builders.labelled(data)
    held_out, held_out_labels = builders.labelled(data, held_out=True)
    assert (len(images), len(held_out)) == (1500, 297)
    whole, classes = fdrl_jax.data.digits().examples, fdrl_jax.data.digits_labels()
    by_image = {image.tobytes(): label for image, label in zip(whole, classes, strict=True)}
    for x, y in ((images, labels), (held_out, held_out_labels)):
        assert [by_image[image.tobytes()] for image in x] == y.tolist()


def test_the_classifiers_kernels_are_made_ready_outside_of_the_flow(model, trained):
    """The kernel of an input gradient is flipped once, and not in every step."""
    classifier, recipe = classifiers.load_classifier(trained[0]), model.experiment.recipe
    condition = classifiers.condition(classifier, 3, 0.1, 4, (8, 8, 1))
    x, zero, root = jnp.zeros((4, 8, 8, 1)), jnp.asarray(0), jax.random.key(0)

    def kernels(condition):
        change = condition.change(recipe.estimator.parameterisation, 0, 4)
        lowered = steps.advance.lower(recipe, model.params, root, x, zero, zero, 7, **change)
        return set(hlo.kernels(hlo.loop_body(lowered.compile().as_text())))

    assert kernels(condition) == {"get-tuple-element"}
    unprepared = dataclasses.replace(classifier, prepare=lambda params: params)
    assert kernels(dataclasses.replace(condition, classifier=unprepared)) != {"get-tuple-element"}
