"""The Bregman losses against their formulas (Eq. 18-21 of arXiv 2303.03714; KLIEP from the authors' code)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdrl_jax.losses import LOSSES, PARAMETERISATION

pytestmark = pytest.mark.usefixtures("strict_promotion")

# The data term and the flow term in float64; -log sigmoid(o) = log(1 + exp(-o)).
FORMULAS = {
    "lsif": (lambda o: 0.5 * o**2, lambda o: -o),
    "lr": (lambda o: np.logaddexp(0, o), lambda o: np.logaddexp(0, -o)),
    "kliep": (np.exp, lambda o: -o),
}


def test_registry_says_what_each_output_is():
    assert PARAMETERISATION == {"lsif": "ratio", "lr": "log_ratio", "kliep": "log_ratio"}
    assert LOSSES.keys() == FORMULAS.keys()


@pytest.mark.parametrize("name", FORMULAS)
def test_terms_match_their_formulas(name):
    data, flow = np.linspace(-20, 20, 81), np.linspace(-15, 15, 31)
    actual = LOSSES[name](jnp.asarray(data, jnp.float32), jnp.asarray(flow, jnp.float32))
    for term, formula, o in zip(actual, FORMULAS[name], (data, flow), strict=True):
        np.testing.assert_allclose(term, formula(o), rtol=5e-6)


# Derived by hand: 0.5 o^2; |o| or 0 for the logistic loss; exp(-1e4) = 0. None: KLIEP's exp(1e4) only has to be finite.
@pytest.mark.parametrize(
    ("name", "o", "data_term", "flow_term"),
    [
        ("lsif", 1e4, 5e7, -1e4),
        ("lsif", -1e4, 5e7, 1e4),
        ("lr", 1e4, 1e4, 0),
        ("lr", -1e4, 0, 1e4),
        ("kliep", 1e4, None, -1e4),
        ("kliep", -1e4, 0, 1e4),
    ],
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_terms_and_gradients_survive_extreme_outputs(name, o, data_term, flow_term, dtype):
    o = jnp.asarray(o, dtype)
    terms, pullback = jax.vjp(LOSSES[name], o, o)
    gradients = pullback((jnp.ones_like(o), jnp.ones_like(o)))
    assert all(x.dtype == dtype and jnp.isfinite(x) for x in (*terms, *gradients))
    for term, expected in zip(terms, (data_term, flow_term), strict=True):
        if expected is not None:
            np.testing.assert_allclose(term, expected, rtol=2 * float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize(("data", "flow"), [((), ()), ((5,), (5,)), ((7,), (3,)), ((2, 3), ()), ((1,), (4, 2))])
@pytest.mark.parametrize("name", LOSSES)
def test_terms_keep_the_shapes_of_their_own_inputs(name, data, flow):
    data_term, flow_term = LOSSES[name](jnp.full(data, 0.5), jnp.full(flow, -0.5))
    assert (data_term.shape, flow_term.shape) == (data, flow)


# p = N(0, 1) and q = N(0.5, 0.8^2): the weights of a Riemann sum for E_p and E_q, and log(q / p) in closed form.
X = np.linspace(-6, 6, 400)
P = np.exp(-(X**2) / 2) / np.sqrt(2 * np.pi) * (X[1] - X[0])
Q = np.exp(-(((X - 0.5) / 0.8) ** 2) / 2) / (0.8 * np.sqrt(2 * np.pi)) * (X[1] - X[0])
LOG_RATIO = X**2 / 2 - ((X - 0.5) / 0.8) ** 2 / 2 - np.log(0.8)


def expected_loss(name, output):
    data_term, flow_term = LOSSES[name](output, output)
    return (jnp.asarray(P, jnp.float32) * data_term + jnp.asarray(Q, jnp.float32) * flow_term).sum()


def true_output(name):
    return jnp.asarray(np.exp(LOG_RATIO) if PARAMETERISATION[name] == "ratio" else LOG_RATIO, jnp.float32)


@pytest.mark.parametrize("name", LOSSES)
def test_expected_loss_is_stationary_at_the_true_ratio(name):
    gradient = jax.grad(expected_loss, argnums=1)(name, true_output(name))
    # The two terms of each component cancel; the error is relative to their size.
    np.testing.assert_array_less(np.abs(gradient) / (P + Q), 1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_any_perturbation_of_the_true_ratio_raises_the_loss(name):
    best = true_output(name)
    shapes = np.stack([np.ones_like(X), np.tanh(X), np.sin(X), np.exp(-(X**2))])
    shifts = np.concatenate([size * shapes for size in (0.1, -0.1, 0.5, -0.5)])
    losses = jax.vmap(lambda shift: expected_loss(name, best + shift))(jnp.asarray(shifts, jnp.float32))
    assert (losses > expected_loss(name, best) + 1e-4).all()
