"""Refinement: DGflow as the flow of another ratio, fitted ratios, and DGflow's density-ratio corrector.

Covers: `refinement.dgflow`, `refinement.discriminator`, `refinement.fitted_ratio`.
"""

import doctest
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fdrl_jax
from fdrl_jax import compose, flow, models
from fdrl_jax.inference import refinement
from fdrl_jax.inference.refinement import discriminator
from fdrl_jax.priors import GeneratorPrior
from fdrl_jax.types import InputError
from fdrl_jax.utils import rng

# The weights s(d) in the paper of DGflow, where d = log p / q.
WEIGHTS = {
    "kl": lambda d: jnp.ones_like(d),
    "js": lambda d: 1 / (1 + jnp.exp(-d)),
    "logd": lambda d: 1 / (1 + jnp.exp(d)),
}
SHIFT = jnp.array([1.0, -0.5])


def logits(x):
    """Logits of a discriminator whose gradient depends on x."""
    return jnp.sin(2 * x).sum(axis=1) - 0.3 * (x**2).sum(axis=1)


def generator(z):
    return jnp.stack([z[:, 0] + z[:, 1] ** 2, jnp.tanh(z[:, 1]), z[:, 0] * z[:, 1]], axis=1)


OF_LOGITS = refinement.discriminator_ratio(logits)
OF_CODES = compose.precompose(OF_LOGITS, generator)


def samples(n=6, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 2)).astype(np.float32)


def dgflow(z, d, divergence, seed, num_steps, eta, gamma):
    """Compute z <- z + eta s(d(z)) grad d(z) + sqrt(2 eta gamma) xi in a loop, with the noise of the stream "flow"."""
    keys = rng.per_sample(rng.stream(jax.random.key(seed), "flow"), len(z))
    z = jnp.asarray(z)
    for k in range(num_steps):
        xi = jnp.stack([jax.random.normal(jax.random.fold_in(key, k), z.shape[1:]) for key in keys])
        gradient = jax.grad(lambda z: d(z).sum())(z)
        z = z + eta * WEIGHTS[divergence](d(z))[:, None] * gradient + np.sqrt(2 * eta * gamma) * xi
    return z


@pytest.mark.parametrize("divergence", WEIGHTS)
def test_refine_is_dgflow(divergence):
    result = fdrl_jax.refine(samples(), OF_LOGITS, 3, divergence=divergence, num_steps=5, temperature=0.2)
    expected = dgflow(samples(), logits, divergence, 3, 5, 0.1, 0.2)
    np.testing.assert_allclose(result, expected, atol=2e-6)
    latent = fdrl_jax.refine(samples(), OF_CODES, 3, divergence=divergence, num_steps=3, step_size=0.15)
    expected = dgflow(samples(), lambda z: logits(generator(z)), divergence, 3, 3, 0.15, 0.01)
    np.testing.assert_allclose(latent, expected, atol=2e-6)
    assert np.abs(latent - result).max() > 0.05


def test_the_docstrings_examples_run():
    assert doctest.testmod(discriminator) == (0, 2)


def test_the_defaults_are_dgflows():
    defaults = {name: p.default for name, p in inspect.signature(fdrl_jax.refine).parameters.items()}
    wanted = {"num_steps": 25, "step_size": 0.1, "temperature": 0.01, "divergence": "kl"}
    assert {name: defaults[name] for name in wanted} == wanted
    expected = dgflow(samples(), logits, "kl", 0, 25, 0.1, 0.01)
    np.testing.assert_allclose(fdrl_jax.refine(samples(), OF_LOGITS, 0), expected, atol=5e-5)


def test_a_ratio_that_outputs_r_drives_the_flow_too():
    # For Pearson's chi2, f' = 2 (r - 1), so one step without noise is x - 2 eta grad r.
    ratio = lambda x: jnp.exp(x[:, 0])  # noqa: E731
    x = samples()
    result = fdrl_jax.refine(
        x, ratio, 0, parameterisation="ratio", divergence="chi2", num_steps=1, step_size=0.1, temperature=0.0
    )
    np.testing.assert_allclose(result, x - 0.2 * np.stack([np.exp(x[:, 0]), 0 * x[:, 1]], axis=1), atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_a_sample_does_not_depend_on_the_batch(batch_size):
    x = samples(6)
    expected = fdrl_jax.refine(x, OF_LOGITS, 0)
    result = fdrl_jax.refine(x, OF_LOGITS, jax.random.key(0), batch_size=batch_size)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    np.testing.assert_allclose(fdrl_jax.refine(x[:2], OF_LOGITS, 0), expected[:2], atol=1e-5)
    assert np.abs(fdrl_jax.refine(x, OF_LOGITS, 1) - expected).min() > 1e-4


def test_no_steps_change_nothing():
    x = samples()
    np.testing.assert_array_equal(fdrl_jax.refine(x, OF_LOGITS, 0, num_steps=0), x)


def test_refine_runs_the_flow_of_the_package(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("simulate was called")

    monkeypatch.setattr(flow, "simulate", refuse)
    with pytest.raises(AssertionError, match="simulate was called"):
        fdrl_jax.refine(samples(), lambda x: x.sum(axis=1), 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(parameterisation="ratio"), "divergence 'kl' cannot be driven by a network that outputs the ratio r"),
        (dict(temperature=float("nan")), "temperature = nan"),
        (dict(samples=np.zeros((0, 2), np.float32)), "with n >= 1"),
        (dict(ratio_fn=lambda z: z.sum()), r"ratio_fn gives \(\) for 2 samples"),
        (dict(ratio_fn=lambda z: -1e30 * z.sum(axis=1), step_size=1e30), "the flow diverged: use a smaller step_size"),
    ],
)
def test_bad_arguments(arguments, message):
    function = fdrl_jax.refine.__wrapped__  # Without the run-time type checks of the tests.
    given = {"samples": samples(), "ratio_fn": OF_LOGITS, "key": 0} | arguments
    with pytest.raises(InputError, match=message):
        function(**given)


# --- fitted ratios and the corrector ---


def decode(params, z):
    return z + params


def gaussian(mean):
    return GeneratorPrior(jnp.asarray(mean), decode, (2,), (2,))


def true_log_ratio(mean, x):
    """Return log N(x; mean, I) / N(x; 0, I)."""
    return x @ mean - (mean**2).sum() / 2


def network():
    return models.estimator(models.MLP((16, 16)), (2,), "log_ratio")


def fitted(data, prior, **changes):
    settings = dict(num_steps=500, batch_size=256, learning_rate=1e-2, ema_decay=0.98) | changes
    return refinement.fit_ratio(data, prior, network(), **settings)


def test_a_generator_is_a_prior():
    prior = gaussian(SHIFT)
    keys = rng.per_sample(jax.random.key(0), 5)
    np.testing.assert_allclose(prior.sample(keys), prior.latents(keys) + SHIFT)
    noisy = GeneratorPrior(SHIFT, decode, (2,), (2,), noise=0.5).sample(rng.per_sample(jax.random.key(0), 4000))
    np.testing.assert_allclose(noisy.var(axis=0), 1.25, rtol=0.1)  # 1 + 0.5^2; the standard error is 2.2%.
    np.testing.assert_allclose(jax.jit(lambda p: p.sample(keys[3:]))(prior), prior.sample(keys)[3:], atol=1e-6)


def test_a_ratio_is_fitted_between_a_generator_and_data():
    data, probe = samples(4000), samples(200, seed=1)
    result = fitted(data, gaussian(SHIFT))(jnp.asarray(probe))
    # With 4000 examples and a small network the error is about 0.1; the true log ratio has a deviation of 1.1.
    assert np.abs(result - true_log_ratio(SHIFT, probe)).mean() < 0.2


def test_the_corrector_turns_one_generators_ratio_into_anothers():
    probe = samples(200, seed=1)
    other = jnp.array([-0.5, -1.0])
    # These are the logits of the optimal discriminator of N(other, I).
    base = refinement.discriminator_ratio(lambda x: -true_log_ratio(other, x))
    correction = fitted(samples(4000) + np.asarray(other), gaussian(SHIFT), seed=2)
    corrected = compose.product(base, correction, parameterisation="log_ratio")
    error = np.abs(corrected(jnp.asarray(probe)) - true_log_ratio(SHIFT, probe)).mean()
    assert error < 0.35
    # Without the correction, the ratio is that of the other generator.
    assert np.abs(base(jnp.asarray(probe)) - true_log_ratio(SHIFT, probe)).mean() > 1


def test_a_ratio_that_cannot_be_fitted_is_refused():
    with pytest.raises(InputError, match="'lsif' is not for a network that outputs the log_ratio: use lr, kliep"):
        fitted(samples(300), gaussian(SHIFT), loss="lsif")
    with pytest.raises(InputError, match="batch_size = 256 is more than the 100 examples"):
        fitted(samples(100), gaussian(SHIFT))
    with pytest.raises(InputError, match="diverged"):
        fitted(samples(300) * np.float32(np.nan), gaussian(SHIFT), num_steps=1)
