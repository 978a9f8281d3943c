"""Networks: the convolution against XLA's own gradient, PyTorch's initialisation, the authors' numbers (Table 3)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from parity import (
    ARCHITECTURES,
    assert_close,
    fixture,
    mlp_params,
    nhwc,
    random_params,
    resnet_params,
    torch_shapes,
    torch_weights,
)
from scipy import stats

from fdrl_jax import flow, models, rng
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.models.conv import conv2d, plain_conv2d
from fdrl_jax.models.layers import Conv, Dense

pytestmark = pytest.mark.usefixtures("strict_promotion")

STAGES = (models.Stage(8, 1, 2),)


def normal(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def count(params):
    return sum(x.size for x in jax.tree.leaves(params))


def image_estimator(module, parameterisation="ratio", precision="float32"):
    return models.estimator(module, (8, 8, 1), parameterisation, precision)


def small_network(kind, bias=None):
    return models.MLP((64, 64, 64), bias) if kind == "mlp" else models.ResNet(8, STAGES, bias)


def in_float64(*trees):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), trees)


# --- the convolution ---


# Sizes even and odd; strides 2 and 3 do not divide some of them, and leave rows beyond the last window.
@pytest.mark.parametrize("shape", [(8, 9), (7, 5)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_conv_and_its_gradients_equal_xlas(size, stride, shape):
    x, kernel = normal((2, *shape, 3)), normal((size, size, 3, 4), seed=1)

    @jax.jit
    def both(x, kernel):
        results = []
        for conv in (conv2d, plain_conv2d):
            out, pullback = jax.vjp(lambda x, kernel, conv=conv: conv(x, kernel, stride), x, kernel)
            results.append((out, *pullback(jnp.sin(jnp.arange(out.size, dtype=jnp.float32)).reshape(out.shape))))
        return results

    for actual, expected in zip(*both(x, kernel), strict=True):
        assert_close(actual, expected)


def test_conv_is_a_cross_correlation_with_zero_padding():
    x, kernel = np.asarray(normal((1, 5, 6, 2))), np.asarray(normal((3, 3, 2, 4), seed=1))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((1, 3, 3, 4))
    for i in range(3):
        for j in range(3):
            window = padded[0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            expected[0, i, j] = np.einsum("hwc,hwco->o", window, kernel)
    assert_close(conv2d(jnp.asarray(x), jnp.asarray(kernel), 2), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_conv_has_second_order_gradients(stride):
    x, kernel = normal((1, 5, 5, 2)), normal((3, 3, 2, 3), seed=1)

    def penalty(conv):
        def squared_gradient(kernel, x):
            return (jax.grad(lambda x: jnp.sin(conv(x, kernel, stride)).sum())(x) ** 2).sum()

        return jax.jit(jax.grad(squared_gradient, argnums=(0, 1)))(kernel, x)

    for actual, expected in zip(penalty(conv2d), penalty(plain_conv2d), strict=True):
        assert_close(actual, expected)


def test_conv_inside_a_compiled_scan():
    x, kernel = normal((2, 6, 6, 2)), normal((3, 3, 2, 4), seed=1)

    def final(conv):
        gradient = jax.grad(lambda x: jnp.sin(conv(x, kernel, 2)).sum())
        return jax.jit(lambda x: lax.scan(lambda x, _: (x - 0.1 * gradient(x), None), x, None, 3)[0])(x)

    assert_close(final(conv2d), final(plain_conv2d))


# --- initialisation ---


# PyTorch's default: U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for weights and biases.
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
    module = small_network(kind, models.head_bias(1.0, parameterisation))
    estimator = image_estimator(module, parameterisation)
    outputs = jax.jit(estimator.apply)(estimator.init(jax.random.key(0)), normal((64, 8, 8, 1)))
    assert estimator.parameterisation == parameterisation
    # The head adds to its bias a sum of features of size ~0.1 with weights below 1 / sqrt(width).
    np.testing.assert_allclose(outputs, expected, atol=0.2)
    assert outputs.std() > 0


def test_head_without_a_bias_value_starts_as_pytorch_does():
    params = image_estimator(models.MLP((100,))).init(jax.random.key(0))
    bias = float(params["head"]["bias"][0])
    assert 0 < abs(bias) <= 0.1  # 1 / sqrt(100)


# --- Table 3 ---


def parameters_of_table_3(stem, stages):
    """Convolutions without bias; two 3x3 a block, 1x1 shortcut where width or size changes; dense to 1 with bias."""
    total, width = 9 * 3 * stem, stem
    for stage in stages:
        for block in range(stage.blocks):
            stride = stage.stride if block == 0 else 1
            total += 9 * width * stage.width + 9 * stage.width**2
            total += width * stage.width if stride > 1 or width != stage.width else 0
            width = stage.width
    return total + width + 1


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameter_count_is_that_of_table_3_and_of_the_authors_network(name):
    architecture = ARCHITECTURES[name]
    estimator = models.estimator(architecture.module(), architecture.event_shape, "ratio")
    params = jax.eval_shape(estimator.init, jax.random.key(0))
    assert count(params) == parameters_of_table_3(architecture.stem, architecture.stages)
    assert count(params) == sum(math.prod(shape) for shape in torch_shapes(name).values())
    shapes = jax.tree.map(jnp.shape, params)
    assert shapes == jax.tree.map(jnp.shape, resnet_params(name))


def test_cifar_network_has_the_11_4_million_parameters_of_the_paper():
    assert round(parameters_of_table_3(*ARCHITECTURES["resnet32"][:2]) / 1e6, 1) == 11.4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_network_matches_the_authors(name):
    expected, architecture = fixture(), ARCHITECTURES[name]
    estimator = models.estimator(architecture.module(), architecture.event_shape, "ratio")
    outputs = jax.jit(estimator.apply)(resnet_params(name), jnp.asarray(nhwc(expected[f"{name}/x_nchw"])))
    assert_close(outputs, expected[f"{name}/out"])


# The gradient of a LeakyReLU network jumps where an activation changes sign. Of the millions of activations here some
# lie within a float32 rounding of zero, so that moving x by one unit in its last place can move a flow by 1e-4. In
# float64 our signs are the exact ones, and the authors' float32 run happens to have them all.
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_input_gradient_matches_the_authors(name):
    expected, architecture = fixture(), ARCHITECTURES[name]
    estimator = models.estimator(architecture.module(), architecture.event_shape, "ratio")
    with jax.enable_x64(True):
        params, x = in_float64(resnet_params(name), nhwc(expected[f"{name}/x_nchw"]))
        gradient = jax.jit(jax.grad(lambda x: estimator.apply(params, x).sum()))(x)
    assert_close(gradient, nhwc(expected[f"{name}/grad_nchw"]))


# The authors' names of the divergences, in evaluation mode, three steps without noise.
@pytest.mark.parametrize(
    ("theirs", "ours", "parameterisation"),
    [("Pearson", "chi2", "ratio"), ("KL", "kl", "log_ratio"), ("JS", "js", "log_ratio"), ("logD", "logd", "log_ratio")],
)
def test_flow_of_the_cifar_network_matches_the_authors(theirs, ours, parameterisation):
    expected, architecture = fixture(), ARCHITECTURES["resnet32"]
    estimator = models.estimator(architecture.module(), architecture.event_shape, parameterisation)
    f_prime, step_size = DIVERGENCES[ours].output_derivative(parameterisation), float(expected["resnet32/eta"])

    @jax.jit
    def simulate(keys, params, x):
        dynamics = flow.Dynamics(ratio_fn=estimator.ratio_fn(params), f_prime=f_prime, step_size=step_size, noise=0.0)
        return flow.simulate(keys, x, num_steps=3, **dynamics)

    start, end = (nhwc(expected[f"resnet32/{x}_nchw"]) for x in ("x", f"flow_eval_{theirs}"))
    keys = rng.per_sample(jax.random.key(0), len(start))
    with jax.enable_x64(True):
        moved = np.asarray(simulate(keys, *in_float64(resnet_params("resnet32"), start)))
    assert_close(moved, end)
    assert_close(moved - start, end - start)  # The way alone, which is short.


# --- estimators ---


@pytest.mark.parametrize("kind", ["mlp", "resnet"])
def test_bf16_runs_in_bfloat16_and_returns_float32(kind):
    full, half = (image_estimator(small_network(kind), precision=precision) for precision in ("float32", "bf16"))
    params, x = random_params(full), normal((16, 8, 8, 1))
    expected, actual = jax.jit(full.apply)(params, x), jax.jit(half.apply)(params, x)
    assert actual.dtype == expected.dtype == jnp.float32
    assert_close(actual, expected, 4 * 2**-8)  # bfloat16 keeps 8 bits; a few roundings.
    products = [str(jax.make_jaxpr(estimator.apply)(params, x)).count("bf16[") for estimator in (full, half)]
    assert products[0] == 0 < products[1]
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(half.init, jax.random.key(0))))
    assert jax.eval_shape(jax.grad(lambda x: half.apply(params, x).sum()), x).dtype == jnp.float32


def test_mlp_matches_its_formula():
    weights = torch_weights("mlp")
    module = models.MLP((16, 16, 16))
    estimator = models.estimator(module, (2,), "ratio")
    x = normal((7, 2))
    h = np.asarray(x, np.float64)
    for i in (0, 2, 4):
        h = h @ weights[f"mlp.{i}.weight"].T + weights[f"mlp.{i}.bias"]
        h = np.where(h > 0, h, 0.2 * h)
    expected = (h @ weights["mlp.6.weight"].T + weights["mlp.6.bias"])[:, 0]
    params = mlp_params(weights.__getitem__)
    assert_close(estimator.apply(params, x), expected)
    assert_close(estimator.ratio_fn(params)(x), expected)


def test_networks_treat_examples_separately():
    estimator = image_estimator(models.ResNet(8, STAGES))
    apply = jax.jit(estimator.ratio_fn(random_params(estimator)))
    x = normal((4, 8, 8, 1))
    assert_close(apply(x)[1:3], apply(x[1:3]))
