"""Several devices, simulated: the same training as on one, with one communication a step."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
import topologies
from jax.sharding import Mesh

from fdrl_jax import sharding, steps
from fdrl_jax.types import InputError


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What topologies.py found, in a process of its own: this one has one device."""
    out = tmp_path_factory.mktemp("topologies") / "found.npz"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    environment["PYTHONPATH"] = str(pathlib.Path(steps.__file__).parents[1])
    script = pathlib.Path(topologies.__file__)
    done = subprocess.run([sys.executable, script, out], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(out) as arrays:
        return dict(arrays)


def differences(found, count, name):
    """Of losses, parameters, their averages and the vectors of the spectral norm, from those on one device."""
    prefix = f"{count}/{name}"
    keys = [key for key in found if key.startswith((f"{prefix}/", f"{prefix}["))]
    assert len(keys) > 8
    return {key: np.abs(found[key] - found["1" + key.removeprefix(str(count))]).max() for key in keys}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("count", "network"), [(2, "mlp"), (4, "mlp"), (8, "mlp"), (8, "normed")])
def test_twenty_steps_are_the_same_on_any_number_of_devices(found, count, network, optimizer):
    assert len(found[f"1/{network}-{optimizer}/loss"]) == 20
    assert np.ptp(found[f"1/{network}-{optimizer}/loss"]) > 1e-3
    assert max(differences(found, count, f"{network}-{optimizer}").values()) < 1e-5


@pytest.mark.parametrize("prior", topologies.PRIORS)
def test_every_prior_draws_the_same_on_four_devices(found, prior):
    assert max(differences(found, 4, prior).values()) < 1e-5


@pytest.mark.parametrize("count", [1, 4])
def test_microbatches_change_nothing(found, count):
    keys = [key for key in found if key.startswith(f"{count}/microbatch")]
    assert len(keys) > 8
    for key in keys:
        assert np.abs(found[key] - found[key.replace(f"{count}/microbatch", "1/exact")]).max() < 1e-5


@pytest.mark.parametrize("prior", topologies.PRIORS)
def test_the_devices_communicate_once_a_step(found, prior):
    parameters = 16 * 16 + 16 + 16 + 1
    lines = [str(line) for line in found[f"4/collectives/{prior}"]]
    sums = [line for line in lines if "all-reduce" in line]
    assert len(sums) == 1, lines
    assert f"f32[{parameters + 3}]" in sums[0]  # Of the gradient, the loss and two ratios.
    others = [line for line in lines if "all-reduce" not in line]
    if prior == "spread":  # Its rows of the 16 draws; not the factor, which would be [16, 16] too.
        assert len(others) == 1
        assert "all-gather" in others[0]
    else:
        assert not others


def test_each_device_does_its_part(found):
    # Four times less but for what is done on each: the optimiser and the averages.
    assert found["4/flops/exact"] < 0.3 * found["1/flops/exact"]


# Only counted: this process has one device.
EIGHT = Mesh(np.array(jax.devices()[:1] * 8), ("samples",))


@pytest.mark.parametrize(
    ("count", "message"), [(12, "no multiple of the 8 devices.*use 16"), (4, "fewer than the 8.*use 8")]
)
def test_a_batch_that_cannot_be_shared_is_refused(count, message):
    with pytest.raises(InputError, match=f"config.data.batch_size = {count} is {message}"):
        sharding.check_divides("config.data.batch_size", count, EIGHT)
    sharding.check_divides("config.data.batch_size", 16, EIGHT)


def test_a_microbatch_that_does_not_divide_is_refused():
    train, optimizer = topologies.recipe("mlp", microbatch=5), topologies.OPTIMIZERS["sgd"]
    current = topologies.start(train, optimizer)
    with pytest.raises(InputError, match="microbatch = 5 does not divide the 16 examples of a device"):
        steps.make_train_step(train, optimizer)(current, topologies.gaussian(), topologies.ROOT, topologies.batch(0))
