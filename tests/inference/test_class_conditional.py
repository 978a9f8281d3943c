"""Class-conditional sampling: labels, phi, candidates, the flags, and what is refused.

Covers: `class_conditional`.
"""

import dataclasses

import hlo
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shrink
import tiny_classifier

import fdrl_jax
from fdrl_jax import cli
from fdrl_jax.inference import class_conditional, classifiers, sampling
from fdrl_jax.methods import ratio_flow
from fdrl_jax.types import InputError
from fdrl_jax.utils import rng


def brightness(x):
    """Logits of two classes of digits: 0 is dark, 1 is bright."""
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
    assert len(set(best)) > 2  # Otherwise the test would show little.
    condition = class_conditional.condition(brightness, labels, 0.3, 5, (8, 8, 1), candidates=4)
    _, states = sampling.trajectory(model, 0, 5, every=2, batch_size=batch_size, progress=False, condition=condition)
    np.testing.assert_allclose(states[0], draws[best, np.arange(5)], atol=1e-6)
    made = sample(model, 5, label=labels, classifier=brightness, scale=0.3, batch_size=batch_size, candidates=4)
    np.testing.assert_allclose(made, states[-1], atol=2e-5)


def test_one_candidate_starts_from_the_draw_of_sampling_without_a_class(model):
    one, default = (sample(model, 3, label=1, classifier=brightness, **kw) for kw in ({"candidates": 1}, {}))
    np.testing.assert_array_equal(one, default)
    condition = class_conditional.condition(brightness, 1, 0.3, 3, (8, 8, 1))
    _, states = sampling.trajectory(model, 0, 3, every=5, progress=False, condition=condition)
    _, free = sampling.trajectory(model, 0, 3, every=5, progress=False)
    np.testing.assert_array_equal(states[0], free[0])


def test_both_parameterisations(model, tmp_path):
    shrink.trained(shrink.tiny_digits(), tmp_path)
    ratio = fdrl_jax.load(tmp_path)
    assert ratio.experiment.method.recipe.estimator.parameterisation == "ratio"
    dark, bright = (sample(ratio, 8, label=y, classifier=brightness).mean(axis=(1, 2, 3)) for y in (0, 1))
    assert (dark < bright - 0.02).all()


def test_the_trajectory_ends_at_the_sample(model):
    condition = class_conditional.condition(brightness, 1, 0.3, 3, (8, 8, 1))
    _, states = sampling.trajectory(model, 0, 3, every=2, progress=False, condition=condition)
    np.testing.assert_allclose(states[-1], sample(model, 3, label=1, classifier=brightness, scale=0.3), atol=2e-5)


def test_another_scale_is_not_another_compilation(model):
    sample(model, 4, label=1, classifier=brightness, scale=0.1)
    before = ratio_flow.advance.num_compiled()
    sample(model, 4, label=0, classifier=brightness, scale=0.2)
    assert ratio_flow.advance.num_compiled() == before


def test_the_classifiers_kernels_are_prepared_outside_the_loop_of_the_flow(model, tmp_path):
    """The kernel of an input gradient is flipped once per flow, and not in every step."""
    classifier, recipe = classifiers.load_classifier(tiny_classifier.saved(tmp_path)), model.experiment.method.recipe
    condition = class_conditional.condition(classifier, 3, 0.1, 4, (8, 8, 1))
    x, zero, root = jnp.zeros((4, 8, 8, 1)), jnp.asarray(0), jax.random.key(0)

    def kernels(condition):
        change = condition.flow_arguments(recipe.estimator.parameterisation, 0, 4)
        lowered = ratio_flow.advance.lower(recipe, model.params, root, x, zero, zero, 7, **change)
        return set(hlo.kernels(hlo.loop_body(lowered.compile().as_text())))

    assert kernels(condition) == {"get-tuple-element"}
    unprepared = dataclasses.replace(classifier, prepare=lambda params: params)
    assert kernels(dataclasses.replace(condition, classifier=unprepared)) != {"get-tuple-element"}


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
        (dict(candidates=4), "scale = 0.1 and candidates = 4 need a class"),
        (
            dict(
                label=1,
                classifier=dataclasses.replace(
                    classifiers.classifier_from_function(brightness), event_shape=(32, 32, 1)
                ),
            ),
            r"was trained on images \[32, 32, 1\], not \[8, 8, 1\]",
        ),
        (dict(label=1, classifier=brightness, candidates=2.0), "candidates = 2.0 must be an integer"),
        (dict(label=1, classifier=lambda x: x), r"gives float32 \[5, 8, 8, 1\] for 5 images, not float logits"),
        (dict(label=1, classifier=lambda x: np.asarray(x)), r"cannot take images \[8, 8, 1\]"),
        (dict(label=1, classifier="missing"), "classifier missing does not exist"),
    ],
)
def test_bad_arguments(model, arguments, message):
    function = fdrl_jax.sample.__wrapped__  # Without the run-time type checks of the tests.
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
    return cli.run(["main.py", "--mode=sample", *flags])


def test_labels_are_taken_in_turn_and_stored(run, model, function_file, tmp_path):
    out = tmp_path / "samples.npz"
    flags = (f"--workdir={run}", f"--classifier={function_file}", "--scale=0.3", f"--out={out}")
    assert command(*flags, "--label=all", "--num_samples=5") == 0
    with np.load(out) as arrays:
        stored = dict(arrays)
    assert stored["labels"].tolist() == [0, 1, 0, 1, 0]
    length = model.experiment.flow_length()
    expected = sample(model, 5, label=[0, 1, 0, 1, 0], classifier=brightness, scale=0.3, num_steps=length)
    np.testing.assert_allclose(stored["samples"], expected, atol=2e-5)
    assert command(*flags, "--label=all", "--num_samples=5", "--candidates=3") == 0
    expected = sample(model, 5, label=[0, 1, 0, 1, 0], classifier=brightness, scale=0.3, num_steps=length, candidates=3)
    with np.load(out) as arrays:
        np.testing.assert_allclose(arrays["samples"], expected, atol=2e-5)
    assert command(*flags, "--label=1,0", "--num_samples=3", "--every=2") == 0
    with np.load(out) as arrays:
        assert arrays["labels"].tolist() == [1, 0, 1]
    assert command(*flags[:-1], f"--out={tmp_path}/folder/", "--label=1", "--num_samples=2") == 0
