"""The compiled training step: its program, its precision, and microbatches."""

import dataclasses
import re

import hlo
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shrink
import topologies

from fdrl_jax import models, priors
from fdrl_jax.methods import fdrl, fdrl_train_step, ratio_flow
from fdrl_jax.types import InputError

IMAGE_SHAPE = (8, 8, 1)
NETWORK = models.ResNet(8, (models.Stage(8, 1, 1), models.Stage(16, 1, 2)), 1.0)

# --- the compiled program ---


def compiled_step(num_steps, precision="float32"):
    """Return the compiled step, with a flow of `num_steps`, of a network with spectral norm on one device."""
    estimator = models.estimator(NETWORK, IMAGE_SHAPE, "ratio", precision, spectral_norm=True)
    recipe = dataclasses.replace(topologies.recipe("mlp"), estimator=estimator, num_steps=num_steps)
    optimizer = topologies.OPTIMIZERS["adam"]
    state = jax.eval_shape(lambda: topologies.start(recipe, optimizer))
    images = jax.ShapeDtypeStruct((16, *IMAGE_SHAPE), np.uint8)
    key = jax.eval_shape(lambda: topologies.ROOT)
    return fdrl_train_step.compiled_train_step(recipe, optimizer, state, priors.Uniform(IMAGE_SHAPE), key, images)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_the_flow():
    short, long = (compiled_step(k).memory_analysis().temp_size_in_bytes for k in (10, 100))
    assert long == pytest.approx(short, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_weights_are_made_ready_outside_of_the_flow(precision):
    """The kernels of the compiled loop's convolutions come from outside the loop, also flipped and transposed."""
    body = hlo.loop_body(compiled_step(7, precision).as_text())
    kernels = hlo.kernels(body)
    # The stem has one convolution and each of the two blocks three, forward and backward. Some of them are compiled to
    # matrix products: 1x1 backward, to one channel, and of images of 2x2.
    assert len(kernels) >= 7
    assert set(kernels) == {"get-tuple-element"}
    # Spectral norm, which computes norms of u and v, is outside the loop.
    assert "sqrt" not in body


@pytest.mark.slow
def test_the_flow_costs_what_the_network_and_its_gradient_cost():
    """XLA counts the body of a loop once, so the count does not depend on K if the body is one step of Eq. 9."""
    counts = [compiled_step(k).cost_analysis()["flops"] for k in (10, 100)]
    assert counts[0] == pytest.approx(counts[1], rel=1e-3)


def test_the_training_loop_compiles_once_and_sends_only_batches(tmp_path, monkeypatch):
    counts, make_train_step = [], fdrl.FDRL.make_train_step

    def make_guarded(self, *arguments):
        train_step = make_train_step(self, *arguments)

        def guarded(*inputs):
            with jax.transfer_guard("disallow"):
                result = train_step(*inputs)
            counts.append(train_step.num_compiled())
            return result

        return guarded

    monkeypatch.setattr(fdrl.FDRL, "make_train_step", make_guarded)
    shrink.trained(shrink.tiny_digits(), tmp_path)
    assert counts == [1, 1, 1, 1]
    # The second run resumes from a state read from disk.
    shrink.trained(shrink.tiny_digits(num_steps=6), tmp_path)
    assert counts == [1] * 6


# --- precision ---


@pytest.mark.slow
def test_bfloat16_is_the_network_and_nothing_else():
    estimator = models.estimator(NETWORK, IMAGE_SHAPE, "ratio", "bf16")
    recipe = dataclasses.replace(topologies.recipe("mlp"), estimator=estimator)
    optimizer = topologies.OPTIMIZERS["adam"]
    state = topologies.start(recipe, optimizer)
    images = np.random.default_rng(0).integers(0, 256, (4, *IMAGE_SHAPE), dtype=np.uint8)
    step = fdrl_train_step.make_train_step(recipe, optimizer)
    jaxpr = str(jax.make_jaxpr(step)(state, priors.Uniform(IMAGE_SHAPE), topologies.ROOT, images))
    convolutions = re.findall(r":(\w+)\[[\d,]+\] = conv_general_dilated", jaxpr)
    assert len(convolutions) > 20
    assert set(convolutions) == {"bf16"}
    # The train state and the particles of the flow stay in float32.
    after, _ = step(state, priors.Uniform(IMAGE_SHAPE), topologies.ROOT, images)
    floats = [leaf.dtype for leaf in jax.tree.leaves(after) if np.issubdtype(leaf.dtype, np.inexact) or leaf.ndim]
    assert {str(dtype) for dtype in floats} == {"float32"}
    params = estimator.effective(after.params, {})
    x = jnp.zeros((4, *IMAGE_SHAPE))
    assert ratio_flow.advance(recipe, params, topologies.ROOT, x, np.int32(0), np.int32(0), 2).dtype == "float32"


# --- microbatches ---


@pytest.mark.slow
def test_microbatches_are_a_field_of_the_config(tmp_path):
    config = shrink.tiny_digits()
    whole = shrink.trained(config, tmp_path / "whole")
    config.train.microbatch = 4
    parts = shrink.trained(config, tmp_path / "parts")
    assert parts.experiment.method.recipe.microbatch == 4
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(parts.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    config.train.microbatch = 5
    with pytest.raises(InputError, match=r"config\.train\.microbatch = 5 does not divide the 16 examples"):
        shrink.trained(config, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_microbatch_that_does_not_divide_is_refused():
    recipe, optimizer = topologies.recipe("mlp", microbatch=5), topologies.OPTIMIZERS["sgd"]
    state = topologies.start(recipe, optimizer)
    train_step = fdrl_train_step.make_train_step(recipe, optimizer)
    with pytest.raises(InputError, match=r"config\.train\.microbatch = 5 does not divide the 16 examples of a device"):
        train_step(state, topologies.gaussian(), topologies.ROOT, topologies.batch(0))
