"""Where a fitted Gaussian lives, and that its draws are the same wherever that is."""

import importlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from parity import assert_close
from smooth import smooth_images

from fdrl_jax import rng
from fdrl_jax.priors import Gaussian, HostGaussian, device_memory, fit_gaussian, fit_low_rank, place, placement
from fdrl_jax.types import InputError

GB = 10**9
KEYS = rng.per_sample(jax.random.key(5), 6)
IMAGES = smooth_images(100, 4)


@pytest.mark.parametrize(
    ("factor", "memory", "devices", "expected"),
    [
        (40, 100, 1, "replicated"),  # 40% of a device, no more.
        (41, 100, 1, "host"),
        (41, 100, 2, "sharded"),
        (80, 100, 2, "sharded"),
        (81, 100, 2, "host"),
        (40, 100, 8, "replicated"),
        (9.66 * GB, 80 * GB, 1, "replicated"),  # 128x128x3 on cards of 80 and of 16 GB.
        (9.66 * GB, 16 * GB, 1, "host"),
        (9.66 * GB, 16 * GB, 2, "sharded"),
    ],
)
def test_placement(factor, memory, devices, expected):
    assert placement(int(factor), int(memory), devices) == expected


@pytest.mark.parametrize("fit", [fit_gaussian, lambda data: fit_low_rank(data, 5)], ids=["exact", "low rank"])
def test_placed_on_one_device_it_draws_the_same(fit):
    prior = fit(IMAGES)
    placed = place(prior, jax.local_devices()[:1])
    assert type(placed) is type(prior)
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(placed))
    np.testing.assert_allclose(placed.sample(KEYS), prior.sample(KEYS), atol=1e-6)


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


def test_host_multiplies_all_rows(monkeypatch):
    fitted = fit_gaussian(IMAGES)
    # Rows in another order, as in the authors' prior: a root of the covariance that is not triangular.
    prior = Gaussian(fitted.mean, np.ascontiguousarray(np.asarray(fitted.factor)[::-1]), fitted.clip)
    host = HostGaussian(prior.mean, prior.factor, prior.clip)
    # By its name: the function of that name hides the module in the package.
    monkeypatch.setattr(importlib.import_module("fdrl_jax.priors.placement"), "_ROWS", 7)
    assert_close(host.draw(KEYS), prior.sample(KEYS))


def test_host_without_a_cpu_backend_says_so(monkeypatch):
    def no_cpu(**_):
        raise RuntimeError("Unknown backend cpu")

    prior = fit_gaussian(IMAGES)
    monkeypatch.setattr(jax, "local_devices", no_cpu)
    with pytest.raises(InputError, match="JAX_PLATFORMS"):
        HostGaussian(prior.mean, prior.factor).draw(KEYS)


def test_low_rank_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"prior\.rank = 5 is too large"):
        place(fit_low_rank(IMAGES, 5), jax.local_devices()[:1], memory=1000)


def test_memory_of_a_cpu_device_is_its_part_of_the_machine():
    cpu = jax.devices("cpu")
    assert len(cpu) * device_memory(cpu[0]) > 2**30


FOUR_DEVICES = """
import jax, numpy as np
from fdrl_jax import rng
from fdrl_jax.priors import Gaussian, HostGaussian, LowRankGaussian, place

assert len(jax.devices()) == 4
keys = rng.per_sample(jax.random.key(5), 6)
sample = jax.jit(lambda prior, keys: prior.sample(keys))

def shard_rows(x):
    return [shard.data.shape[0] for shard in x.addressable_shards]

for d, rows in ((12, 3), (6, 3), (5, None)):  # On 4 devices; on 2, twice; not at all.
    g = np.random.default_rng(d)
    mean, factor = g.standard_normal(d, np.float32), np.tril(g.standard_normal((d, d), np.float32))
    basis, residual = factor[:, :2].copy(), np.abs(factor[:, 0])
    exact, low = Gaussian(mean, factor, None), LowRankGaussian(mean, basis, residual, None)
    expected = exact.sample(keys)
    replicated = place(exact, jax.devices())
    assert shard_rows(replicated.factor) == [d] * 4
    np.testing.assert_allclose(sample(replicated, keys), expected, rtol=1e-5, atol=1e-6)
    sharded = place(exact, jax.devices(), memory=2 * factor.nbytes)
    if rows is None:
        assert isinstance(sharded, HostGaussian)
        continue
    assert shard_rows(sharded.factor) == [rows] * 4
    assert shard_rows(sharded.mean) == [d] * 4
    np.testing.assert_allclose(sample(sharded, keys), expected, rtol=1e-5, atol=1e-6)
    sharded = place(low, jax.devices(), memory=2 * basis.nbytes)
    assert shard_rows(sharded.basis) == [rows] * 4
    assert shard_rows(sharded.residual) == [d] * 4
    np.testing.assert_allclose(sample(sharded, keys), low.sample(keys), rtol=1e-5, atol=1e-6)
print("all the same")
"""


def test_spread_over_four_devices_it_draws_the_same(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    done = subprocess.run([sys.executable, "-c", FOUR_DEVICES], capture_output=True, text=True, check=False)
    assert done.stdout == "all the same\n", done.stderr
