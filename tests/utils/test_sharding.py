"""Training on several simulated devices: the same results as on one device, with one communication per step."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
import topologies
from jax.sharding import Mesh
from paths import ROOT

from fdrl_jax.types import InputError
from fdrl_jax.utils import sharding


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return the results of topologies.py, which runs in another process because this one has only one device."""
    out = tmp_path_factory.mktemp("topologies") / "results.npz"
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    environment["PYTHONPATH"] = str(ROOT)
    script = pathlib.Path(topologies.__file__)
    done = subprocess.run([sys.executable, script, out], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(out) as arrays:
        return dict(arrays)


def differences(results, count, name):
    """Return each result's largest difference from one device: losses, largest |x|, arrays of the train state."""
    prefix = f"{count}/{name}"
    keys = [key for key in results if key.startswith((f"{prefix}/", f"{prefix}["))]
    assert len(keys) > 8
    return {key: np.abs(results[key] - results["1" + key.removeprefix(str(count))]).max() for key in keys}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("count", "network"), [(2, "mlp"), (4, "mlp"), (8, "mlp"), (8, "normed")])
def test_twenty_steps_are_the_same_on_any_number_of_devices(results, count, network, optimizer):
    assert len(results[f"1/{network}-{optimizer}/loss"]) == 20
    assert np.ptp(results[f"1/{network}-{optimizer}/loss"]) > 1e-3
    assert max(differences(results, count, f"{network}-{optimizer}").values()) < 1e-5


@pytest.mark.parametrize("prior", topologies.PRIORS)
def test_every_prior_draws_the_same_on_four_devices(results, prior):
    assert max(differences(results, 4, prior).values()) < 1e-5


@pytest.mark.parametrize("count", [1, 4])
def test_microbatches_change_nothing(results, count):
    keys = [key for key in results if key.startswith(f"{count}/microbatch")]
    assert len(keys) > 8
    for key in keys:
        assert np.abs(results[key] - results[key.replace(f"{count}/microbatch", "1/exact")]).max() < 1e-5


@pytest.mark.parametrize("prior", topologies.PRIORS)
def test_the_devices_communicate_once_a_step(results, prior):
    parameters = 16 * 16 + 16 + 16 + 1
    lines = [str(line) for line in results[f"4/collectives/{prior}"]]
    sums = [line for line in lines if "all-reduce" in line]
    assert len(sums) == 1, lines
    # The sum has the gradient, the loss, two mean ratios, and a slot for each device's largest |x|.
    assert f"f32[{parameters + 3 + 4}]" in sums[0]
    others = [line for line in lines if "all-reduce" not in line]
    if prior == "spread":  # Gathers its rows of the 16 draws, but not the covariance factor, which is [16, 16] as well.
        assert len(others) == 1
        assert "all-gather" in others[0]
    else:
        assert not others


def test_each_device_does_its_part(results):
    # A quarter of the work, and that which every device repeats: the optimiser and the averages of the parameters.
    assert results["4/flops/exact"] < 0.3 * results["1/flops/exact"]


# A mesh of one device eight times, because this process has no more; the checks below only count the devices.
EIGHT = Mesh(np.array(jax.devices()[:1] * 8), ("samples",))


@pytest.mark.parametrize(
    ("count", "message"), [(12, "no multiple of the 8 devices.*use 16"), (4, "fewer than the 8.*use 8")]
)
def test_a_batch_that_cannot_be_shared_is_refused(count, message):
    with pytest.raises(InputError, match=f"config.data.batch_size = {count} is {message}"):
        sharding.check_divides("config.data.batch_size", count, EIGHT)
    sharding.check_divides("config.data.batch_size", 16, EIGHT)


@pytest.mark.parametrize(("n", "at_most", "largest"), [(0, 1, 1), (7, 1, 1), (120, 12, 12), (25, 2, 1), (400, 40, 40)])
def test_largest_divisor(n, at_most, largest):
    assert sharding.largest_divisor(n, at_most) == largest
