"""Every form of every f-divergence against Table 2 of arXiv 2303.03714, in float64 where precision matters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdrl_jax.divergences import DIVERGENCES, bounded_exp
from fdrl_jax.types import InputError

pytestmark = pytest.mark.usefixtures("strict_promotion")

NAMES = ("chi2", "kl", "js", "logd", "jeffrey")
FORMS = [(name, "log_ratio") for name in NAMES] + [("chi2", "ratio")]

# Table 2, as printed; natural logarithms.
F = {
    "chi2": lambda r: (r - 1) ** 2,
    "kl": lambda r: r * np.log(r),
    "js": lambda r: r * np.log(r) - (r + 1) * np.log((r + 1) / 2),
    "logd": lambda r: (r + 1) * np.log(r + 1) - 2 * np.log(2),
    "jeffrey": lambda r: (r - 1) * np.log(r),
}
# Derived by hand from F.
F_PRIME = {
    "chi2": lambda r: 2 * (r - 1),
    "kl": lambda r: np.log(r) + 1,
    "js": lambda r: np.log(2 * r / (r + 1)),
    "logd": lambda r: np.log(r + 1) + 1,
    "jeffrey": lambda r: np.log(r) + 1 - 1 / r,
}
# c(r) = r f''(r), derived by hand from F_PRIME.
C = {
    "chi2": lambda r: 2 * r,
    "kl": np.ones_like,
    "js": lambda r: 1 / (1 + r),
    "logd": lambda r: r / (1 + r),
    "jeffrey": lambda r: 1 + 1 / r,
}
# The additive constants that the output forms omit: f'(exp o) minus the output form.
DROPPED = {"chi2": -2.0, "kl": 1.0, "js": np.log(2), "logd": 1.0, "jeffrey": 1.0}


def derivative(function):
    return jax.vmap(jax.grad(function))


def test_registry_has_the_five_divergences_by_name():
    assert {name: divergence.name for name, divergence in DIVERGENCES.items()} == {name: name for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_f_and_f_prime_match_the_table(name):
    r = np.geomspace(1e-3, 1e3, 61)
    ours = DIVERGENCES[name]
    np.testing.assert_allclose(ours.f(jnp.asarray(r, jnp.float32)), F[name](r), rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(ours.f_prime(jnp.asarray(r, jnp.float32)), F_PRIME[name](r), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_f_is_zero_at_one(name):
    assert abs(float(DIVERGENCES[name].f(jnp.float32(1)))) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_f_is_convex(name):
    values = np.asarray(DIVERGENCES[name].f(jnp.arange(1, 51, dtype=jnp.float32) / 5), np.float64)
    assert (np.diff(values, 2) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_f_prime_is_the_derivative_of_f(name):
    r = jnp.asarray(np.geomspace(1e-3, 1e3, 61), jnp.float32)
    np.testing.assert_allclose(derivative(DIVERGENCES[name].f)(r), DIVERGENCES[name].f_prime(r), rtol=2e-6, atol=1e-6)


# The limits of F for r -> 0, derived by hand.
@pytest.mark.parametrize(
    ("name", "limit"),
    [("chi2", 1.0), ("kl", 0.0), ("js", np.log(2)), ("logd", -2 * np.log(2)), ("jeffrey", np.inf)],
)
def test_f_at_zero_is_its_limit(name, limit):
    np.testing.assert_allclose(DIVERGENCES[name].f(jnp.float32(0)), limit, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_f_keeps_its_digits_at_large_ratios(name):
    np.testing.assert_allclose(DIVERGENCES[name].f(jnp.float32(1e6)), F[name](np.float64(1e6)), rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_derivative_in_the_log_ratio_is_c(name):
    o = np.linspace(-15, 15, 61)
    form = DIVERGENCES[name].output_derivative("log_ratio")
    np.testing.assert_allclose(derivative(form)(jnp.asarray(o, jnp.float32)), C[name](np.exp(o)), rtol=5e-6)


@pytest.mark.parametrize("name", NAMES)
def test_log_ratio_form_is_f_prime_minus_a_constant(name):
    o = np.linspace(-5, 5, 41)
    form = DIVERGENCES[name].output_derivative("log_ratio")
    expected = F_PRIME[name](np.exp(o)) - DROPPED[name]
    np.testing.assert_allclose(form(jnp.asarray(o, jnp.float32)), expected, rtol=2e-6, atol=1e-6)


def test_ratio_form_of_chi2_is_f_prime_minus_a_constant():
    r = jnp.linspace(-3, 5, 17)
    form = DIVERGENCES["chi2"].output_derivative("ratio")
    np.testing.assert_allclose(form(r), F_PRIME["chi2"](np.asarray(r)) + 2, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(derivative(form)(r), 2.0)  # f''(r)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(("name", "parameterisation"), FORMS)
def test_output_forms_are_finite_for_extreme_outputs(name, parameterisation, dtype):
    magnitudes = jnp.asarray([0, 1e-4, 1, 50, 66, 67, 88, 89, 100, 1e3, 1e4], dtype)
    o = jnp.concatenate([-magnitudes, magnitudes])
    form = DIVERGENCES[name].output_derivative(parameterisation)
    value, gradient = jax.vmap(jax.value_and_grad(form))(o)
    assert value.dtype == gradient.dtype == dtype
    assert jnp.isfinite(value).all()
    assert jnp.isfinite(gradient).all()


# At |o| = 1e4 the formulas have reached their limits. Each pair is the value and the gradient, at -1e4 and at 1e4.
@pytest.mark.parametrize(
    ("name", "at_minus", "at_plus"),
    [
        ("kl", (-1e4, 1), (1e4, 1)),
        ("js", (-1e4, 1), (0, 0)),
        ("logd", (0, 0), (1e4, 1)),
    ],
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_output_forms_reach_their_limits(name, at_minus, at_plus, dtype):
    form = jax.value_and_grad(DIVERGENCES[name].output_derivative("log_ratio"))
    for o, expected in ((-1e4, at_minus), (1e4, at_plus)):
        np.testing.assert_array_equal(jnp.stack(form(jnp.asarray(o, dtype))), jnp.asarray(expected, dtype))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_exponential_forms_reach_their_finite_limits(dtype):
    forms = (DIVERGENCES[name].output_derivative("log_ratio") for name in ("chi2", "jeffrey"))
    chi2, jeffrey = map(jax.value_and_grad, forms)
    np.testing.assert_array_equal(jnp.stack(chi2(jnp.asarray(-1e4, dtype))), 0)
    np.testing.assert_array_equal(jnp.stack(jeffrey(jnp.asarray(1e4, dtype))), jnp.asarray([1e4, 1], dtype))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_bounded_exp_is_exp_below_its_limit(dtype):
    x = jnp.asarray([-1e4, -88, -1, 0, 0.5, 10, 66], dtype)
    value, gradient = jax.vmap(jax.value_and_grad(bounded_exp))(x)
    np.testing.assert_array_equal(value, jnp.exp(x))
    np.testing.assert_array_equal(gradient, jnp.exp(x))


def test_bounded_exp_continues_by_its_tangent():
    # The limit is 3/4 of the logarithm of the largest float32, 66.542; the tangent is exp(limit) (1 + x - limit).
    limit = 0.75 * np.log(np.finfo(np.float32).max.astype(np.float64))
    x = np.array([limit, 67, 100, 1e4])
    value, gradient = jax.vmap(jax.value_and_grad(bounded_exp))(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(value, np.exp(limit) * (1 + x - limit), rtol=1e-5)
    np.testing.assert_allclose(gradient, np.exp(limit), rtol=1e-5)


@pytest.mark.parametrize("name", ["kl", "js", "logd", "jeffrey"])
def test_ratio_network_may_not_drive_a_divergence_of_log_r(name):
    with pytest.raises(InputError, match=f"'{name}' cannot be driven .* output can be negative"):
        DIVERGENCES[name].output_derivative("ratio")
