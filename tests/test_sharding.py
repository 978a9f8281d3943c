"""Several devices, simulated: the same training as on one, with one communication a step."""

import dataclasses
import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import hlo
import jax
import numpy as np
import pytest
import shrink
import topologies
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from fdrl_jax import hosts, models, priors, sharding, steps
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
    """Of losses, largest |x|, parameters, their averages and the vectors of the spectral norm, from one device's."""
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


def processes(monkeypatch, *settings):
    """Processes with these settings, as the first of them sees the others."""
    texts = [np.frombuffer(json.dumps(each, sort_keys=True).encode(), np.uint8) for each in settings]
    longest = max(map(len, texts))
    gathered = iter([[len(text) for text in texts], [np.pad(text, (0, longest - len(text))) for text in texts]])
    monkeypatch.setattr(jax, "process_count", lambda: len(settings))
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda x: np.stack(next(gathered)))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"--seed": 0, "config.seed": 7}, "config.seed is 3 on process 0 and 7 on process 1: start all with the same"),
        ({"--seed": 0}, "config.seed is 3 on process 0 and absent on process 1"),
        ({"--seed": None, "config.seed": 3}, "--seed is 0 on process 0 and null on process 1"),
    ],
)
def test_processes_that_were_started_differently_are_refused(monkeypatch, other, message):
    mine = {"--seed": 0, "config.seed": 3}
    processes(monkeypatch, mine, mine)
    hosts.check_same(mine)
    processes(monkeypatch, mine, other)
    with pytest.raises(InputError, match=re.escape(message)):
        hosts.check_same(mine)


def test_a_process_that_is_alone_gives_up():
    script = "from fdrl_jax import hosts; hosts.JOIN_TIMEOUT = 2; hosts.join('localhost:{}', 2, 0)"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        script = script.format(free.getsockname()[1])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "error: not all 2 processes came to localhost:" in done.stderr.splitlines()[-1]


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
    # Of the gradient, the loss and two ratios; and each device's largest |x| at a place of its own.
    assert f"f32[{parameters + 3 + 4}]" in sums[0]
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
    with pytest.raises(InputError, match=r"config\.train\.microbatch = 5 does not divide the 16 examples of a device"):
        steps.make_train_step(train, optimizer)(current, topologies.gaussian(), topologies.ROOT, topologies.batch(0))


# --- one step, one program ---


def lowered(train, network_input=(8, 8, 1), batch=16):
    """The compiled step of a network with spectral norm, on one device."""
    estimator = models.estimator(NETWORK, network_input, "ratio", train["precision"], spectral_norm=True)
    made = dataclasses.replace(topologies.recipe("mlp"), estimator=estimator, num_steps=train["num_steps"])
    optimizer = topologies.OPTIMIZERS["adam"]
    abstract = jax.eval_shape(lambda: topologies.start(made, optimizer))
    images = jax.ShapeDtypeStruct((batch, *network_input), np.uint8)
    key = jax.eval_shape(lambda: topologies.ROOT)
    return steps.compiled_train_step(made, optimizer, abstract, priors.Uniform(network_input), key, images)


NETWORK = models.ResNet(8, (models.Stage(8, 1, 1), models.Stage(16, 1, 2)), 1.0)


def test_memory_does_not_grow_with_the_length_of_the_flow():
    short, long = (
        lowered({"num_steps": k, "precision": "float32"}).memory_analysis().temp_size_in_bytes for k in (10, 100)
    )
    assert long == pytest.approx(short, rel=0.01)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_weights_are_made_ready_outside_of_the_flow(precision):
    """In the compiled loop a convolution takes its kernel, or that flipped and transposed, as it came in."""
    body = hlo.loop_body(lowered({"num_steps": 7, "precision": precision}).as_text())
    kernels = hlo.kernels(body)
    # The stem, two of each of two blocks and a shortcut of each: forward and backward, but for products (1x1 back, to
    # one channel, of images of 2x2).
    assert len(kernels) >= 7
    assert set(kernels) == {"get-tuple-element"}
    # Nothing of spectral norm, which takes norms of u and v.
    assert "sqrt" not in body


def test_the_flow_costs_what_the_network_and_its_gradient_cost():
    """By XLA's count, which has the body of a loop once: a step of Eq. 9 and no more, whatever K."""
    counts = [lowered({"num_steps": k, "precision": "float32"}).cost_analysis()["flops"] for k in (10, 100)]
    assert counts[0] == pytest.approx(counts[1], rel=1e-3)


def test_the_training_loop_compiles_once_and_sends_only_batches(tmp_path, monkeypatch):
    seen, make = [], steps.make_train_step

    def guarded(*arguments):
        train_step = make(*arguments)

        def call(*given):
            with jax.transfer_guard("disallow"):
                result = train_step(*given)
            seen.append(train_step.num_compiled())
            return result

        return call

    monkeypatch.setattr(steps, "make_train_step", guarded)
    shrink.trained(shrink.tiny_digits(), tmp_path)
    assert seen == [1, 1, 1, 1]
    # Resumed, from a state off the disk.
    shrink.trained(shrink.tiny_digits(num_steps=6), tmp_path)
    assert seen == [1] * 6


# --- precision ---


def test_bfloat16_is_the_network_and_nothing_else():
    estimator = models.estimator(NETWORK, (8, 8, 1), "ratio", "bf16")
    made = dataclasses.replace(topologies.recipe("mlp"), estimator=estimator)
    optimizer = topologies.OPTIMIZERS["adam"]
    state = topologies.start(made, optimizer)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    step = steps.make_train_step(made, optimizer)
    jaxpr = str(jax.make_jaxpr(step)(state, priors.Uniform((8, 8, 1)), topologies.ROOT, images))
    convolutions = re.findall(r":(\w+)\[[\d,]+\] = conv_general_dilated", jaxpr)
    assert len(convolutions) > 20
    assert set(convolutions) == {"bf16"}
    # The carry of the flow, particles, and all that is kept.
    after, _ = step(state, priors.Uniform((8, 8, 1)), topologies.ROOT, images)
    floats = [leaf.dtype for leaf in jax.tree.leaves(after) if np.issubdtype(leaf.dtype, np.inexact) or leaf.ndim]
    assert {str(dtype) for dtype in floats} == {"float32"}
    params = estimator.effective(after.params, {})
    x = topologies.jnp.zeros((4, 8, 8, 1))
    assert steps.advance(made, params, topologies.ROOT, x, np.int32(0), np.int32(0), 2).dtype == "float32"


def test_microbatches_are_a_field_of_the_config(tmp_path):
    config = shrink.tiny_digits()
    whole = shrink.trained(config, tmp_path / "whole")
    config.train.microbatch = 4
    parts = shrink.trained(config, tmp_path / "parts")
    assert parts.experiment.recipe.microbatch == 4
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(parts.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    config.train.microbatch = 5
    with pytest.raises(InputError, match=r"config\.train\.microbatch = 5 does not divide the 16 examples"):
        shrink.trained(config, tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("n", "at_most", "largest"), [(0, 1, 1), (7, 1, 1), (120, 12, 12), (25, 2, 1), (400, 40, 40)])
def test_largest_divisor(n, at_most, largest):
    assert sharding.largest_divisor(n, at_most) == largest
