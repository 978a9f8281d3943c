"""Eq. 9 of arXiv 2303.03714: the drift, flows with known moments, random numbers, and trajectories."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdrl_jax import flow
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.types import InputError
from fdrl_jax.utils import rng

pytestmark = pytest.mark.usefixtures("strict_promotion")


def kl(ratio_fn, step_size, noise=0.0):
    """Return the KL flow of log r = `ratio_fn`. Its f' is the identity, so the drift is -grad ratio_fn."""
    return flow.Dynamics(ratio_fn=ratio_fn, f_prime=lambda o: o, step_size=step_size, noise=noise)


def half_square(x):
    return 0.5 * (x**2).sum(axis=tuple(range(1, x.ndim)))


def keys(count, seed=0):
    return rng.per_sample(jax.random.key(seed), count)


def run(keys, x, num_steps, dynamics, **options):
    return jax.jit(functools.partial(flow.simulate, num_steps=num_steps, **dynamics, **options))(keys, x)


def normal(shape, seed=1):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def assert_moments(samples, mean, variance):
    """Assert that mean and variance are within four standard errors of those of as many normal draws."""
    samples = np.asarray(samples, np.float64).ravel()
    assert abs(samples.mean() - mean) < 4 * np.sqrt(variance / samples.size)
    assert abs(samples.var() - variance) < 4 * variance * np.sqrt(2 / samples.size)


# --- the drift ---


def test_drift_of_a_quadratic_log_ratio_under_kl_is_minus_x():
    x = normal((5, 3))
    np.testing.assert_allclose(flow.drift(x, half_square, lambda o: o), -x, rtol=1e-6)


def test_drift_of_a_linear_ratio_under_chi2_is_constant():
    # r(x) = a . x, f' = 2 (r - 1): the drift is -2 a.
    a = jnp.array([1.0, -2.0, 0.5])
    drift = flow.drift(normal((5, 3)), lambda x: x @ a, DIVERGENCES["chi2"].output_derivative("ratio"))
    np.testing.assert_allclose(drift, np.tile([-2.0, 4.0, -1.0], (5, 1)), rtol=1e-6)


# For log r(x) = a . x the drift is -c(r) a, with c(r) as in the docstring of `divergences`.
@pytest.mark.parametrize(
    ("name", "c"),
    [
        ("chi2", lambda r: 2 * r),
        ("kl", lambda r: 1.0 + 0 * r),
        ("js", lambda r: 1 / (1 + r)),
        ("logd", lambda r: r / (1 + r)),
        ("jeffrey", lambda r: 1 + 1 / r),
    ],
)
def test_drift_of_a_linear_log_ratio_is_scaled_by_c(name, c):
    a, x = jnp.array([0.5, -1.0]), normal((6, 2))
    drift = flow.drift(x, lambda x: x @ a, DIVERGENCES[name].output_derivative("log_ratio"))
    r = np.exp(np.asarray(x) @ np.asarray(a))
    np.testing.assert_allclose(drift, -c(r)[:, None] * np.asarray(a), rtol=1e-5)


def test_one_noiseless_step_is_euler():
    x = normal((4, 2))
    np.testing.assert_allclose(flow.step(keys(4), x, 0, **kl(half_square, 0.25)), 0.75 * x, rtol=1e-6)


def test_one_step_adds_nu_times_the_noise_of_its_index():
    x = normal((4, 2))
    xi = rng.normal(jax.vmap(lambda key: jax.random.fold_in(key, 7))(keys(4)), (2,))
    actual = flow.step(keys(4), x, 7, **kl(half_square, 0.25, noise=0.5))
    np.testing.assert_allclose(actual, 0.75 * x + 0.5 * xi, rtol=1e-5, atol=1e-6)


def test_particles_do_not_act_on_each_other():
    jacobian = jax.jacobian(lambda x: flow.simulate(keys(3), x, num_steps=2, **kl(half_square, 0.25)))(normal((3, 1)))
    np.testing.assert_allclose(jacobian[:, 0, :, 0], 0.75**2 * np.eye(3), rtol=1e-6)


# --- known moments ---


def test_gaussian_moves_towards_the_data_at_the_stale_ratio():
    # q = N(0, 1), p = N(m, 1): log r = m^2/2 - m x, so each step moves by eta m and adds variance nu^2.
    m, eta, nu, K = 2.0, 0.05, 0.1, 20
    x = run(keys(20_000), normal((20_000, 1)), K, kl(lambda x: m**2 / 2 - m * x[:, 0], eta, nu))
    assert_moments(x, mean=K * eta * m, variance=1 + K * nu**2)


def test_every_step_adds_noise_the_last_included():
    for K in (1, 2):
        x = run(keys(20_000), jnp.zeros((20_000, 1)), K, kl(lambda x: 0 * x[:, 0], 1.0, 0.5))
        assert_moments(x, mean=0, variance=K * 0.5**2)


def test_quadratic_potential_is_a_discrete_ornstein_uhlenbeck_process():
    # x_{k+1} = a x_k + nu xi with a = 1 - eta: the mean shrinks by a per step, and the variance is a geometric series.
    eta, nu, K = 0.1, 0.3, 15
    a = 1 - eta
    x = run(keys(20_000), 3 + 0.5 * normal((20_000, 1)), K, kl(half_square, eta, nu))
    assert_moments(x, mean=3 * a**K, variance=0.25 * a ** (2 * K) + nu**2 * (1 - a ** (2 * K)) / (1 - a**2))


# --- order of convergence ---


def test_noiseless_flow_converges_with_order_one():
    # log r = x^4 / 4 under KL: dx/dt = -x^3, so x(T) = x_0 / sqrt(1 + 2 x_0^2 T).
    x0 = np.array([[0.5], [1.0], [1.5]])
    exact = x0 / np.sqrt(1 + 2 * x0**2)
    errors = [
        np.abs(run(keys(3), jnp.asarray(x0, jnp.float32), N, kl(lambda x: x[:, 0] ** 4 / 4, 1 / N)) - exact).max()
        for N in (16, 32, 64)
    ]
    ratios = np.divide(errors[:-1], errors[1:])
    np.testing.assert_allclose(ratios, 2, atol=0.2)


def test_noisy_flow_converges_weakly_with_order_one():
    # nu = sqrt(2 gamma eta), gamma = 1, log r = x^2 / 2. The stationary distribution of the SDE is N(0, 1), that of the
    # scheme N(0, nu^2 / (1 - (1 - eta)^2)) = N(0, 1 / (1 - eta / 2)). The error of its variance is eta / 2 + O(eta^2).
    biases = []
    for eta in (0.5, 0.25, 0.125):
        x = run(keys(40_000), normal((40_000, 4)), int(4 / eta), kl(half_square, eta, float(np.sqrt(2 * eta))))
        assert_moments(x, mean=0, variance=1 / (1 - eta / 2))
        biases.append(np.asarray(x, np.float64).var() - 1)
    # The exact ratios are 2.33 and 2.14; 0.4 is four standard errors of the second.
    np.testing.assert_allclose(np.divide(biases[:-1], biases[1:]), [7 / 3, 15 / 7], atol=0.4)


# --- random numbers, and flows simulated in several parts ---


def test_a_sample_does_not_depend_on_its_batch():
    x, noisy = normal((6, 2)), kl(half_square, 0.1, 0.5)
    together = run(keys(6), x, 4, noisy)
    order = np.array([4, 0, 3])
    np.testing.assert_allclose(run(keys(6)[order], x[order], 4, noisy), together[order], rtol=1e-6)
    assert not np.allclose(run(keys(6, seed=5), x, 4, noisy), together, atol=0.1)


@pytest.mark.parametrize("cut", [0, 1, 3, 7])
def test_two_pieces_equal_one_run_exactly(cut):
    x, noisy = normal((5, 2)), kl(half_square, 0.1, 0.5)
    halfway = run(keys(5), x, cut, noisy)
    pieces = run(keys(5), halfway, 7 - cut, noisy, first_step=cut)
    np.testing.assert_array_equal(pieces, run(keys(5), x, 7, noisy))


def test_zero_steps_return_x():
    x = normal((5, 2))
    np.testing.assert_array_equal(flow.simulate(keys(5), x, num_steps=0, **kl(half_square, 0.1, 0.5)), x)


@pytest.mark.parametrize("num_steps", [-1, 2.5])
def test_a_bad_number_of_steps_is_refused(num_steps):
    for run, options in ((flow.simulate, {}), (flow.trajectory, {"every": 2})):
        with pytest.raises(InputError, match=f"num_steps = {num_steps}"):
            inspect.unwrap(run)(keys(1), normal((1, 2)), num_steps=num_steps, **options, **kl(half_square, 0.1))


def test_an_unknown_setting_is_refused():
    with pytest.raises(TypeError, match="eta"):
        flow.simulate(keys(1), normal((1, 2)), num_steps=1, eta=0.1, **kl(half_square, 0.1))


@pytest.mark.parametrize(("noise", "draws"), [(0.0, False), (0, False), (0.1, True)])
def test_zero_noise_draws_no_random_numbers(noise, draws):
    simulate = functools.partial(flow.simulate, num_steps=3, **kl(half_square, 0.1, noise))
    assert ("erf_inv" in str(jax.make_jaxpr(simulate)(keys(2), normal((2, 2))))) == draws


# --- trajectories ---


@pytest.mark.parametrize(
    ("num_steps", "every", "first_step", "kept"),
    [(6, 2, 0, [0, 2, 4, 6]), (7, 3, 4, [0, 3, 6, 7]), (2, 5, 4, [0, 2]), (3, 1, 0, [0, 1, 2, 3]), (0, 1, 0, [0])],
)
def test_trajectory_keeps_the_states_of_simulate(num_steps, every, first_step, kept):
    noisy, states = kl(half_square, 0.1, 0.5), [normal((3, 2))]
    one_step = jax.jit(lambda x, k: flow.step(keys(3), x, k, **noisy))
    for k in range(first_step, first_step + num_steps):
        states.append(one_step(states[-1], k))
    steps, actual = flow.trajectory(
        keys(3), states[0], num_steps=num_steps, every=every, first_step=first_step, **noisy
    )
    np.testing.assert_array_equal(steps, kept)
    np.testing.assert_allclose(actual, jnp.stack(states)[np.array(kept)], rtol=1e-6)
    last = flow.simulate(keys(3), states[0], num_steps=num_steps, first_step=first_step, **noisy)
    np.testing.assert_array_equal(actual[-1], last)


@pytest.mark.parametrize("every", [0, -1])
def test_trajectory_refuses_every_below_one(every):
    with pytest.raises(InputError, match=f"every = {every}"):
        flow.trajectory(keys(1), normal((1, 2)), num_steps=3, every=every, **kl(half_square, 0.1))


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_images_flow_like_the_points_they_flatten_to(noise):
    x, dynamics = normal((3, 4, 5, 2)), kl(half_square, 0.1, noise)
    images = run(keys(3), x, 3, dynamics)
    assert images.shape == x.shape
    np.testing.assert_allclose(images.reshape(3, -1), run(keys(3), x.reshape(3, -1), 3, dynamics), rtol=1e-5, atol=1e-6)
