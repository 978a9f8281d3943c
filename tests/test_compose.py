"""Composed ratio functions against automatic differentiation of the formulas that define them."""

import doctest
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdrl_jax import compose, flow
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.utils import rng

PAIRS = [(name, p) for name, d in DIVERGENCES.items() for p in d.of_output]
LABELS = jnp.array([0, 1, 2, 1, 0, 2])


@pytest.fixture
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def points(dtype=np.float64):
    return jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)), dtype)


def log_r(x):
    return 0.7 * x[:, 0] - 0.2 * x[:, 1] ** 2 + 0.1


def ratio_fn(parameterisation):
    return log_r if parameterisation == "log_ratio" else lambda x: jnp.exp(log_r(x))


def logits(x, sharpness=1.0):
    return sharpness * jnp.stack([x[:, 0], x[:, 1], x[:, 0] * x[:, 1]], axis=1)


def log_probs(x, sharpness=1.0):
    return jax.nn.log_softmax(logits(x, sharpness))


def test_examples_in_the_docstrings():
    examples = [test for test in doctest.DocTestFinder().find(compose) if test.examples]
    names = {test.name.rpartition(".")[2] for test in examples}
    assert names == {"precompose", "product", "quotient", "classifier_ratio", "class_conditional", "masked"}
    runner = doctest.DocTestRunner()
    for test in examples:
        runner.run(test)
    assert runner.summarize().failed == 0


@pytest.mark.parametrize("scale", [0.1, 1.0])
@pytest.mark.parametrize(("divergence", "parameterisation"), PAIRS)
def test_the_drift_is_that_of_the_defining_formula(float64, divergence, parameterisation, scale):
    """The reference is -grad f'(r(x) (N p(y|x))^-phi), from f, softmax and r, without logarithms or simplification."""

    def defined(x, y):
        def f_prime(r):
            return jax.grad(DIVERGENCES[divergence].f)(r)

        def of_one(x):
            r, p = jnp.exp(log_r(x[None])[0]), jax.nn.softmax(logits(x[None])[0])[y]
            return f_prime(r * (3 * p) ** -scale)

        return -jax.grad(of_one)(x)

    conditional = compose.class_conditional(
        ratio_fn(parameterisation), log_probs, LABELS, scale, parameterisation=parameterisation
    )
    made = flow.drift(points(), conditional, DIVERGENCES[divergence].output_derivative(parameterisation))
    assert made.dtype == np.float64
    np.testing.assert_allclose(made, jax.vmap(defined)(points(), LABELS), rtol=1e-12, atol=1e-12)


def test_one_label_is_the_same_label_for_all():
    x = points(np.float32)
    made = [compose.class_conditional(log_r, log_probs, label)(x) for label in (1, jnp.full(6, 1), np.array(1))]
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])
    assert np.abs(made[0] - compose.class_conditional(log_r, log_probs, 2)(x)).max() > 0.01


def test_a_particle_depends_only_on_its_own_label():
    x = points(np.float32)
    whole = flow.drift(x, compose.class_conditional(log_r, log_probs, LABELS), lambda o: o)
    for i in range(6):
        alone = flow.drift(x[i : i + 1], compose.class_conditional(log_r, log_probs, LABELS[i : i + 1]), lambda o: o)
        np.testing.assert_allclose(alone[0], whole[i], rtol=1e-6)


@pytest.mark.parametrize("scale", [0.1, 1.0])
@pytest.mark.parametrize(("divergence", "parameterisation"), PAIRS)
def test_a_certain_classifier_gives_finite_numbers(divergence, parameterisation, scale):
    """Softmax in float32 underflows to p = 0, whose logarithm has no gradient."""
    x = points(np.float32)

    def sure(x):
        return log_probs(x, sharpness=1e4)

    assert not jax.nn.softmax(logits(x, 1e4)).all()
    conditional = compose.class_conditional(
        ratio_fn(parameterisation), sure, LABELS, scale, parameterisation=parameterisation
    )
    assert np.isfinite(conditional(x)).all()
    drift = flow.drift(x, conditional, DIVERGENCES[divergence].output_derivative(parameterisation))
    assert np.isfinite(drift).all()


def test_a_ratio_below_zero_flows_as_without_a_class():
    """The gradient of r counts, times the class weight; that of the class does not: r < 0 would reverse its sign."""

    def negative(x):
        return x[:, 0] - 10

    x = points(np.float32)
    conditional = compose.class_conditional(negative, log_probs, LABELS, 1.0, parameterisation="ratio")
    np.testing.assert_array_equal(conditional(x), np.zeros(6))
    weight = compose.classifier_ratio(log_probs, LABELS, 1.0, parameterisation="ratio")(x)
    f_prime = DIVERGENCES["chi2"].output_derivative("ratio")
    expected = weight[:, None] * flow.drift(x, negative, f_prime)
    np.testing.assert_allclose(flow.drift(x, conditional, f_prime), expected, rtol=1e-6)


def test_without_the_power_in_the_step_the_direction_stays(float64):
    """`at_step=False` divides the drift by the power of p and changes nothing else."""
    x, f_prime = points(), DIVERGENCES["chi2"].output_derivative("ratio")

    def drift(at_step):
        made = compose.class_conditional(
            ratio_fn("ratio"), log_probs, LABELS, 0.7, parameterisation="ratio", at_step=at_step
        )
        return flow.drift(x, made, f_prime)

    power = compose.classifier_ratio(log_probs, LABELS, 0.7, parameterisation="ratio")(x)
    np.testing.assert_allclose(drift(True), power[:, None] * drift(False), rtol=1e-12)
    assert np.abs(power - 1).max() > 0.5


def test_scale_zero_is_the_unconditional_flow():
    x = points(np.float32)
    for divergence, parameterisation in PAIRS:
        f_prime = DIVERGENCES[divergence].output_derivative(parameterisation)
        plain = ratio_fn(parameterisation)
        conditional = compose.class_conditional(plain, log_probs, LABELS, 0.0, parameterisation=parameterisation)
        np.testing.assert_allclose(flow.drift(x, conditional, f_prime), flow.drift(x, plain, f_prime), rtol=1e-6)


@pytest.mark.parametrize("parameterisation", ["ratio", "log_ratio"])
def test_product_and_quotient_of_two_classifiers(float64, parameterisation):
    """The references are the formulas themselves: products and quotients of r and powers of p, and their gradients."""

    def factor(x, y):
        return (3 * jax.nn.softmax(logits(x))[:, y]) ** -0.5

    def output(r):
        return jnp.log(r) if parameterisation == "log_ratio" else r

    a, b = (compose.classifier_ratio(log_probs, y, scale=0.5, parameterisation=parameterisation) for y in (0, 1))
    x = points()
    for made, defined in (
        (
            compose.product(ratio_fn(parameterisation), a, b, parameterisation=parameterisation),
            lambda x: output(jnp.exp(log_r(x)) * factor(x, 0) * factor(x, 1)),
        ),
        (
            compose.quotient(a, b, parameterisation=parameterisation),
            lambda x: output(factor(x, 0) / factor(x, 1)),
        ),
    ):
        np.testing.assert_allclose(made(x), defined(x), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(
            flow.drift(x, made, lambda o: o), flow.drift(x, defined, lambda o: o), rtol=1e-11, atol=1e-13
        )


def test_a_quotient_with_a_negative_divisor_is_finite():
    x = points(np.float32)
    made = compose.quotient(lambda x: x[:, 0] ** 2, lambda x: x[:, 1] * 0 - 1, parameterisation="ratio")
    np.testing.assert_allclose(made(x), 1000 * x[:, 0] ** 2, rtol=1e-5)
    assert np.isfinite(flow.drift(x, made, lambda o: o)).all()


def gaussian_flow(ratio_fn, x):
    keys = rng.per_sample(jax.random.key(0), len(x))
    return flow.simulate(keys, x, num_steps=200, ratio_fn=ratio_fn, f_prime=lambda o: o, step_size=0.05, noise=0.05)


def to_correlated(x):
    """Return -log p of a Gaussian with unit variances and correlation 0.9, whose KL flow leads to that Gaussian."""
    precision = jnp.linalg.inv(jnp.array([[1.0, 0.9], [0.9, 1.0]]))
    return 0.5 * jnp.einsum("bi,ij,bj->b", x, precision, x)


def test_a_masked_flow_fills_in_what_the_known_part_implies():
    known, mask = jnp.array([2.0, 0.0]), jnp.array([True, False])
    x = gaussian_flow(compose.masked(to_correlated, known, mask), points(np.float32))
    # The mode of the second coordinate given the first is 0.9 x 2; noise of 0.05 leaves a standard deviation of 0.07.
    np.testing.assert_allclose(x[:, 1], 1.8, atol=0.3)
    free = gaussian_flow(to_correlated, points(np.float32))
    assert np.abs(free[:, 1]).max() < 1


def test_masks_differ_by_particle():
    known = jnp.array([[2.0, 0.0], [0.0, -2.0]])
    mask = known != 0
    x = gaussian_flow(compose.masked(to_correlated, known, mask), points(np.float32)[:2])
    np.testing.assert_allclose(jnp.where(mask, 0, x).sum(axis=1), [1.8, -1.8], atol=0.3)


def test_the_former_name_of_precompose_works():
    assert compose.through is compose.precompose


def test_precompose_follows_the_chain_rule():
    z = points(np.float32)
    matrix = jnp.array([[2.0, 1.0], [0.0, 3.0]])
    made = flow.drift(z, compose.precompose(log_r, lambda z: z @ matrix), lambda o: o)
    np.testing.assert_allclose(made, flow.drift(z @ matrix, log_r, lambda o: o) @ matrix.T, rtol=1e-6)
