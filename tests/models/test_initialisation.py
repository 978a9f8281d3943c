"""Initial parameters: PyTorch's uniform distribution, and the bias of the head.

Covers: `initialisation`, `layers`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_arrays import normal
from scipy import stats

from fdrl_jax import models
from fdrl_jax.models.layers import Conv, Dense

pytestmark = pytest.mark.usefixtures("strict_promotion")


@pytest.mark.parametrize(
    ("layer", "x_shape", "name", "fan_in"),
    [
        (Conv(64), (1, 4, 4, 8), "kernel", 3 * 3 * 8),
        (Conv(128, size=1), (1, 4, 4, 32), "kernel", 32),
        (Dense(256), (1, 20), "kernel", 20),
        (Dense(4096), (1, 20), "bias", 20),
    ],
    ids=["conv3", "conv1", "dense", "bias"],
)
def test_layers_start_uniform_within_one_over_root_fan_in(layer, x_shape, name, fan_in):
    values = np.ravel(layer.init(jax.random.key(0), jnp.zeros(x_shape))["params"][name])
    bound = 1 / math.sqrt(fan_in)
    assert np.abs(values).max() <= bound
    assert stats.kstest(values, "uniform", (-bound, 2 * bound)).pvalue > 0.01


@pytest.mark.parametrize(
    ("ratio_init", "parameterisation", "bias"),
    [
        (None, "ratio", None),
        (None, "log_ratio", None),
        (1.0, "ratio", 1.0),
        (1.0, "log_ratio", 0.0),
        (2.0, "ratio", 2.0),
        (2.0, "log_ratio", math.log(2)),
    ],
)
def test_head_bias_is_the_output_at_the_initial_ratio(ratio_init, parameterisation, bias):
    assert models.head_bias(ratio_init, parameterisation) == bias


@pytest.mark.parametrize(("parameterisation", "expected"), [("ratio", 1.0), ("log_ratio", 0.0)])
@pytest.mark.parametrize("kind", ["mlp", "resnet"])
def test_untrained_network_is_near_a_ratio_of_one(kind, parameterisation, expected):
    bias = models.head_bias(1.0, parameterisation)
    module = models.MLP((64, 64, 64), bias) if kind == "mlp" else models.ResNet(8, (models.Stage(8, 1, 2),), bias)
    estimator = models.estimator(module, (8, 8, 1), parameterisation)
    outputs = jax.jit(estimator.apply)(estimator.init(jax.random.key(0)), normal((64, 8, 8, 1)))
    assert estimator.parameterisation == parameterisation
    # To its bias the head adds a sum of features of size about 0.1 with weights below 1 / sqrt(width).
    np.testing.assert_allclose(outputs, expected, atol=0.2)
    assert outputs.std() > 0


def test_head_without_a_bias_value_starts_as_pytorch_does():
    params = models.estimator(models.MLP((100,)), (8, 8, 1), "ratio").init(jax.random.key(0))
    bias = float(params["head"]["bias"][0])
    assert 0 < abs(bias) <= 0.1  # 1 / sqrt(100)
