"""Self-attention: its formula, its start as the identity, its place in the ResNet, and its softmax in bf16.

Covers: `attention`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import assert_close, random_params
from random_arrays import normal, random_like

from fdrl_jax import models
from fdrl_jax.models.attention import Attention
from fdrl_jax.types import InputError

pytestmark = pytest.mark.usefixtures("strict_promotion")

STAGES = (models.Stage(8, 1, 2),)


def image_estimator(module, precision="float32"):
    return models.estimator(module, (8, 8, 1), "ratio", precision)


def test_attention_matches_its_formula():
    module = Attention()
    x = normal((2, 3, 4, 16))
    params = random_like(module.init(jax.random.key(0), x)["params"])
    assert jax.tree.map(jnp.shape, params["query"]) == {"bias": (2,), "kernel": (1, 1, 16, 2)}
    assert jax.tree.map(jnp.shape, params["out"]) == {"bias": (16,), "kernel": (1, 1, 2, 16)}

    def conv(name, x):
        return x @ np.asarray(params[name]["kernel"], np.float64)[0, 0] + np.asarray(params[name]["bias"])

    expected = np.empty(x.shape)
    for i, image in enumerate(np.asarray(x, np.float64)):
        pixels = image.reshape(12, 16)
        attended = np.empty((12, 2))
        for j, query in enumerate(conv("query", pixels)):
            weights = np.exp(conv("key", pixels) @ query)
            attended[j] = weights @ conv("value", pixels) / weights.sum()
        expected[i] = (float(params["gamma"]) * conv("out", attended) + pixels).reshape(3, 4, 16)
    assert_close(module.apply({"params": params}, x), expected)


def test_attention_starts_as_the_identity_with_pytorchs_weights():
    module, x = Attention(), normal((1, 4, 4, 64))
    params = module.init(jax.random.key(0), x)["params"]
    assert (params["gamma"].shape, params["gamma"]) == ((), 0)
    np.testing.assert_array_equal(module.apply({"params": params}, x), x)
    for name, fan_in in (("key", 64), ("query", 64), ("value", 64), ("out", 8)):
        for values in params[name].values():
            assert 0.5 / math.sqrt(fan_in) < np.abs(values).max() <= 1 / math.sqrt(fan_in)


@pytest.mark.parametrize(("attention", "channels"), [(1, 8), (2, 16)])
def test_attention_follows_the_stage_asked_for(attention, channels):
    stages = (models.Stage(8, 1, 2), models.Stage(16, 1, 1))
    params, without = (
        jax.eval_shape(image_estimator(models.ResNet(8, stages, attention=after)).init, jax.random.key(0))
        for after in (attention, 0)
    )
    assert params["attention"]["key"]["kernel"].shape == (1, 1, channels, channels // 8)
    assert "attention" not in without


@pytest.mark.parametrize("attention", [-1, 2])
def test_attention_after_no_stage_is_refused(attention):
    module = models.ResNet(8, STAGES, attention=attention)
    with pytest.raises(InputError, match=rf"attention = {attention} must be 0 \(none\) or a stage, 1 to 1"):
        image_estimator(module).init(jax.random.key(0))


def test_attention_over_too_few_channels_is_refused():
    with pytest.raises(InputError, match="there are 7: use at least 8"):
        Attention().init(jax.random.key(0), jnp.zeros((1, 4, 4, 7)))


def test_attention_runs_in_bf16_with_a_softmax_in_float32():
    module = models.ResNet(8, STAGES, attention=1)
    full, half = (image_estimator(module, precision=precision) for precision in ("float32", "bf16"))
    params, x = random_params(full), normal((8, 8, 8, 1))
    assert_close(jax.jit(half.apply)(params, x), jax.jit(full.apply)(params, x), 6 * 2**-8)
    lines = str(jax.make_jaxpr(half.apply)(params, x)).splitlines()
    assert any(" exp " in line and "f32[" in line.split("=")[0] for line in lines)
