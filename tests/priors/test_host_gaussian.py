"""A Gaussian drawn on the host, against the same Gaussian drawn on a device."""

import jax
import numpy as np
import pytest
from parity import assert_close
from small_priors import correlated_gaussian
from synthetic_images import smooth_images

from fdrl_jax.priors import Gaussian, HostGaussian, Whitened, fit_gaussian, host_gaussian, place
from fdrl_jax.types import InputError
from fdrl_jax.utils import rng

KEYS = rng.per_sample(jax.random.key(5), 6)
IMAGES = smooth_images(100, 4)


@pytest.mark.parametrize("clip", [1.0, None])
def test_on_the_host_it_draws_the_same(clip):
    fitted = fit_gaussian(IMAGES)
    prior = Gaussian(fitted.mean, 3 * fitted.factor, clip)
    host = place(prior, jax.local_devices()[:1], memory=1000)
    assert isinstance(host, HostGaussian)
    assert host.event_shape == (4, 4, 3)
    draws = host.draw(KEYS)
    assert isinstance(draws, np.ndarray)
    assert draws.dtype == np.float32
    assert_close(draws, prior.sample(KEYS))
    assert (np.abs(draws).max() > 1) == (clip is None)
    np.testing.assert_allclose(host.draw(KEYS[np.array([4, 1])]), draws[[4, 1]], atol=1e-5)


def test_all_rows_of_the_factor_are_multiplied(monkeypatch):
    fitted = fit_gaussian(IMAGES)
    # A root of the covariance that is not triangular, as in the authors' prior: the rows in reverse order.
    prior = Gaussian(fitted.mean, np.ascontiguousarray(np.asarray(fitted.factor)[::-1]), fitted.clip)
    host = HostGaussian(prior.mean, prior.factor, prior.clip)
    monkeypatch.setattr(host_gaussian, "_ROWS", 7)
    assert_close(host.draw(KEYS), prior.sample(KEYS))


def test_an_error_names_the_missing_cpu_backend(monkeypatch):
    def no_cpu(**_):
        raise RuntimeError("Unknown backend cpu")

    prior = fit_gaussian(IMAGES)
    monkeypatch.setattr(jax, "local_devices", no_cpu)
    with pytest.raises(InputError, match="JAX_PLATFORMS"):
        HostGaussian(prior.mean, prior.factor).draw(KEYS)


@pytest.mark.usefixtures("strict_promotion")
def test_the_same_normal_vectors_become_the_same_draws():
    prior = correlated_gaussian(clip=0.5)
    host = HostGaussian(np.asarray(prior.mean), np.asarray(prior.factor), 0.5)
    z = np.asarray(rng.normal(rng.per_sample(jax.random.key(11), 20), (2,)))
    assert isinstance(host, Whitened)
    np.testing.assert_allclose(host.from_normal(z), prior.from_normal(z), rtol=1e-6, atol=1e-7)
