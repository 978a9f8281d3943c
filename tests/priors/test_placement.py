"""Placement of a fitted Gaussian, and that its draws do not depend on the placement."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from synthetic_images import smooth_images

from fdrl_jax.priors import device_memory, fit_gaussian, fit_low_rank, place, placement
from fdrl_jax.types import InputError
from fdrl_jax.utils import rng

GB = 10**9
KEYS = rng.per_sample(jax.random.key(5), 6)
IMAGES = smooth_images(100, 4)


@pytest.mark.parametrize(
    ("factor", "memory", "devices", "expected"),
    [
        (40, 100, 1, "replicated"),  # At most 40% of a device.
        (41, 100, 1, "host"),
        (41, 100, 2, "sharded"),
        (80, 100, 2, "sharded"),
        (81, 100, 2, "host"),
        (40, 100, 8, "replicated"),
        (9.66 * GB, 80 * GB, 1, "replicated"),  # Images of 128x128x3 on devices of 80 and of 16 GB.
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


def test_low_rank_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"prior\.rank = 5 is too large"):
        place(fit_low_rank(IMAGES, 5), jax.local_devices()[:1], memory=1000)


def test_memory_of_a_cpu_device_is_its_share_of_the_machine():
    cpu = jax.devices("cpu")
    assert len(cpu) * device_memory(cpu[0]) > 2**30


FOUR_DEVICES = """
import jax, numpy as np
from fdrl_jax.priors import Gaussian, HostGaussian, LowRankGaussian, place
from fdrl_jax.utils import rng

assert len(jax.devices()) == 4
keys = rng.per_sample(jax.random.key(5), 6)
sample = jax.jit(lambda prior, keys: prior.sample(keys))

def shard_rows(x):
    return [shard.data.shape[0] for shard in x.addressable_shards]

for d, rows in ((12, 3), (6, 3), (5, None)):  # Split over 4 devices; over 2, in two copies; not at all.
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


def test_sharded_over_four_devices_it_draws_the_same(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    done = subprocess.run([sys.executable, "-c", FOUR_DEVICES], capture_output=True, text=True, check=False)
    assert done.stdout == "all the same\n", done.stderr
