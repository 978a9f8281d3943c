"""Networks: the convolution against XLA's own gradient, PyTorch's initialisation, the authors' numbers (Table 3)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
from jax import lax
from parity import ARCHITECTURES, assert_close, fixture, mlp_params, nhwc, random_params, torch_shapes, torch_weights
from scipy import stats

from fdrl_jax import flow, models, rng
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.models import spectral
from fdrl_jax.models.attention import Attention
from fdrl_jax.models.conv import conv2d, plain_conv2d
from fdrl_jax.models.layers import Conv, Dense
from fdrl_jax.types import InputError

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


# --- spectral norm ---


def normed_estimator(attention=0):
    module = models.ResNet(8, (models.Stage(8, 1, 2), models.Stage(16, 1, 1)), attention=attention)
    return models.estimator(module, (8, 8, 1), "ratio", spectral_norm=True)


def normed(attention=0, iterations=0):
    """An estimator with parameters and vectors, after some power iterations."""
    estimator = normed_estimator(attention)
    params = random_params(estimator)
    vectors = estimator.init_spectral(jax.random.key(1), params)
    advance = jax.jit(estimator.advance_spectral)
    for _ in range(iterations):
        vectors = advance(params, vectors)
    return estimator, params, vectors


def kernels(tree):
    """Weights by path, as matrices [out, rest]."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = {tuple(key.key for key in path): np.asarray(leaf) for path, leaf in leaves}
    return {path: leaf.reshape(-1, leaf.shape[-1]).T for path, leaf in named.items() if path[-1] == "kernel"}


def vectors_at(tree, path):
    for part in path:
        tree = tree[part]
    return np.asarray(tree["u"]), np.asarray(tree["v"])


def test_every_kernel_has_vectors_of_length_one_and_nothing_else_has():
    _, params, vectors = normed(attention=1)
    paths = {tuple(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(vectors)}
    assert paths == {(*path, x) for path in kernels(params) for x in "uv"}
    starts = []
    for path, matrix in kernels(params).items():
        u, v = vectors_at(vectors, path)
        assert (len(u), len(v)) == matrix.shape
        for x in (u, v):
            assert np.linalg.norm(x) == pytest.approx(1, rel=1e-5)
            starts += [float(x[0])] if len(x) > 1 else []  # One alone is 1 or -1.
    assert len(set(starts)) == len(starts) > 12


def test_vectors_start_in_every_direction():
    # Coordinates of a direction drawn evenly have mean 0 and variance 1 / n.
    params = {"kernel": jnp.zeros((10_000, 400))}
    vectors = spectral.init(jax.random.key(0), params)["kernel"]
    for x in (vectors["u"], vectors["v"]):
        assert stats.kstest(np.asarray(x) * math.sqrt(len(x)), "norm").pvalue > 0.01
    assert np.abs(spectral.init(jax.random.key(1), params)["kernel"]["u"] - vectors["u"]).max() > 0.01


def test_a_power_iteration_by_hand():
    estimator, params, vectors = normed()
    after = estimator.advance_spectral(params, vectors)
    for path, W in kernels(params).items():
        u, _ = vectors_at(vectors, path)
        v = W.T.astype(np.float64) @ u
        v /= np.linalg.norm(v)
        u = W @ v / np.linalg.norm(W @ v)
        for actual, expected in zip(vectors_at(after, path), (u, v), strict=True):
            assert_close(actual, expected)


def test_effective_weights_have_spectral_norm_one():
    estimator, params, vectors = normed(attention=2, iterations=200)
    effective = estimator.effective(params, vectors)
    for matrix in kernels(effective).values():
        assert np.linalg.norm(matrix, 2) == pytest.approx(1, rel=1e-3)
    assert effective["attention"]["gamma"] == params["attention"]["gamma"]
    np.testing.assert_array_equal(effective["head"]["bias"], params["head"]["bias"])


def test_the_gradient_goes_through_the_norm_and_not_through_its_vectors():
    # d/dW of <C, W / s> with s = u^T W v is C / s - <C, W> / s^2 u v^T.
    _, params, vectors = normed(iterations=1)
    cotangents = random_like(params)

    def inner(params, vectors):
        pairs = zip(jax.tree.leaves(spectral.normalise(params, vectors)), jax.tree.leaves(cotangents), strict=True)
        return sum((a * b).sum() for a, b in pairs)

    in_params, in_vectors = jax.jit(jax.grad(inner, argnums=(0, 1)))(params, vectors)
    assert all(not leaf.any() for leaf in jax.tree.leaves(in_vectors))
    matrices, directions = kernels(in_params), kernels(cotangents)
    for path, W in kernels(params).items():
        u, v = (x.astype(np.float64) for x in vectors_at(vectors, path))
        C, s = directions[path].astype(np.float64), u @ W @ v
        assert_close(matrices[path], C / s - (C * W).sum() / s**2 * np.outer(u, v))
    np.testing.assert_array_equal(in_params["head"]["bias"], cotangents["head"]["bias"])


def random_like(tree):
    generator = np.random.default_rng(5)
    return jax.tree.map(lambda x: jnp.asarray(generator.standard_normal(x.shape), jnp.float32), tree)


def test_power_iteration_is_not_differentiated():
    def after(params):
        return sum(leaf.sum() for leaf in jax.tree.leaves(spectral.power_iteration(params, vectors)))

    _, params, vectors = normed()
    assert all(not leaf.any() for leaf in jax.tree.leaves(jax.jit(jax.grad(after))(params)))


def test_without_spectral_norm_parameters_pass_unchanged():
    estimator = image_estimator(small_network("resnet"))
    params = random_params(estimator)
    assert estimator.init_spectral(jax.random.key(0), params) == {} == estimator.advance_spectral(params, {})
    assert estimator.effective(params, {}) is params
    assert estimator.effective(jnp.ones(3), {}).shape == (3,)  # Whatever the parameters are.


def test_the_network_takes_effective_weights():
    estimator, params, vectors = normed(iterations=3)
    plain = models.estimator(models.ResNet(8, (models.Stage(8, 1, 2), models.Stage(16, 1, 1))), (8, 8, 1), "ratio")
    x, effective = normal((3, 8, 8, 1)), estimator.effective(params, vectors)
    np.testing.assert_array_equal(estimator.apply(effective, x), plain.apply(effective, x))


# --- self-attention ---


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
    params = jax.eval_shape(normed_estimator(attention).init, jax.random.key(0))
    assert params["attention"]["key"]["kernel"].shape == (1, 1, channels, channels // 8)
    assert "attention" not in jax.eval_shape(normed_estimator().init, jax.random.key(0))


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


# --- Table 3 ---


def parameters_of_table_3(stem, stages, attention=0):
    """Convolutions without bias; two 3x3 a block, 1x1 shortcut where width or size changes; dense to 1 with bias."""
    total, width = 9 * 3 * stem, stem
    for i, stage in enumerate(stages, 1):
        for block in range(stage.blocks):
            stride = stage.stride if block == 0 else 1
            total += 9 * width * stage.width + 9 * stage.width**2
            total += width * stage.width if stride > 1 or width != stage.width else 0
            width = stage.width
        if attention == i:
            eighth = width // 8
            total += 4 * width * eighth + 3 * eighth + width + 1  # Four 1x1 with biases, and gamma.
    return total + width + 1


def authors_network(name, parameterisation="ratio"):
    """Estimator, parameters and vectors with the fixture's weights."""
    network = parity.network(name)
    return network.estimator(parameterisation), network.params, network.spectral


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameter_count_is_that_of_table_3_and_of_the_authors_network(name):
    table = ARCHITECTURES[name]
    estimator, params, vectors = authors_network(name)
    shapes = jax.eval_shape(estimator.init, jax.random.key(0))
    assert count(shapes) == parameters_of_table_3(table.stem, table.stages, table.attention)
    state = torch_shapes(name).items()
    assert count(shapes) == sum(math.prod(shape) for key, shape in state if not key.endswith(("_u", "_v")))
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, params)
    ours = jax.eval_shape(lambda: estimator.init_spectral(jax.random.key(0), params))
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, vectors)


def test_cifar_network_has_the_11_4_million_parameters_of_the_paper():
    table = ARCHITECTURES["resnet32"]
    assert round(parameters_of_table_3(table.stem, table.stages) / 1e6, 1) == 11.4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_network_matches_the_authors(name):
    expected = fixture()
    estimator, params, vectors = authors_network(name)
    outputs = jax.jit(estimator.apply)(
        estimator.effective(params, vectors), jnp.asarray(nhwc(expected[f"{name}/x_nchw"]))
    )
    assert_close(outputs, expected[f"{name}/out"])


# The gradient of a LeakyReLU network jumps where an activation changes sign. Of the millions of activations here some
# lie within a float32 rounding of zero, so that moving x by one unit in its last place can move a flow by 1e-4. In
# float64 our signs are the exact ones, and the authors' float32 run has them all but one: in the second image of
# resnet32_sn, where the gradient agrees at a point 3e-7 beside it.
# XLA has no fast convolution in float64: half a minute each. resnet32 is in resnet32_sn.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "resnet32" else ()) for name in ARCHITECTURES]
)
def test_input_gradient_matches_the_authors(name):
    expected, estimator = fixture(), parity.network(name).estimator("ratio")
    images, gradients = (nhwc(expected[f"{name}/{x}_nchw"]) for x in ("x", "grad"))
    beside = 3e-7 * np.random.default_rng(3).standard_normal(images.shape)
    beside *= np.reshape([0, name == "resnet32_sn"], (2, 1, 1, 1))
    with jax.enable_x64(True):
        params, vectors, x = in_float64(parity.network(name).params, parity.network(name).spectral, images + beside)
        effective = estimator.effective(params, vectors)
        gradient = jax.jit(jax.grad(lambda x: estimator.apply(effective, x).sum()))(x)
    assert_close(gradient, gradients)


# The authors' names of the divergences, in evaluation mode, three steps without noise.
@pytest.mark.parametrize(
    ("theirs", "ours", "parameterisation"),
    [("Pearson", "chi2", "ratio"), ("KL", "kl", "log_ratio"), ("JS", "js", "log_ratio"), ("logD", "logd", "log_ratio")],
)
@pytest.mark.parametrize("name", ["resnet32", "resnet64shallow_sn_attn"])
def test_flow_of_a_network_matches_the_authors(name, theirs, ours, parameterisation):
    expected = fixture()
    estimator, params, vectors = authors_network(name, parameterisation)
    f_prime, step_size = DIVERGENCES[ours].output_derivative(parameterisation), float(expected[f"{name}/eta"])

    @jax.jit
    def simulate(keys, params, vectors, x):
        effective = estimator.effective(params, vectors)
        dynamics = flow.Dynamics(
            ratio_fn=estimator.ratio_fn(effective), f_prime=f_prime, step_size=step_size, noise=0.0
        )
        return flow.simulate(keys, x, num_steps=3, **dynamics)

    start, end = (nhwc(expected[f"{name}/{x}_nchw"]) for x in ("x", f"flow_eval_{theirs}"))
    keys = rng.per_sample(jax.random.key(0), len(start))
    with jax.enable_x64(True):
        moved = np.asarray(simulate(keys, *in_float64(params, vectors, start)))
    assert_close(moved, end)
    assert_close(moved - start, end - start)  # The way alone, which is short.


# In training mode the authors' forward passes run one power iteration each, which we do once a training step: the
# numbers can be had by doing as they do. In resnet32_sn an activation changes sign; see above.
@pytest.mark.parametrize(
    ("name", "tolerance", "of_the_way"), [("resnet32_sn", 2e-3, 2e-2), ("resnet64shallow_sn_attn", 1e-5, 1e-5)]
)
def test_power_iterations_in_a_flow_match_the_authors_training_mode(name, tolerance, of_the_way):
    expected = fixture()
    estimator, params, vectors = authors_network(name)
    f_prime, step_size = DIVERGENCES["chi2"].output_derivative("ratio"), float(expected[f"{name}/eta"])

    @jax.jit
    def step(params, vectors, x):
        vectors = estimator.advance_spectral(params, vectors)
        ratio_fn = estimator.ratio_fn(estimator.effective(params, vectors))
        return vectors, x + step_size * flow.drift(x, ratio_fn, f_prime)

    start, end = (nhwc(expected[f"{name}/{x}_nchw"]) for x in ("x", "flow_train_Pearson"))
    with jax.enable_x64(True):
        params, vectors, x = in_float64(params, vectors, start)
        for _ in range(3):
            vectors, x = step(params, vectors, x)
        moved, stem = np.asarray(x), jax.tree.map(np.asarray, vectors["stem"]["kernel"])
    assert_close(moved, end, tolerance)
    assert_close(moved - start, end - start, of_the_way)
    assert_close(stem["u"], expected[f"{name}/conv1_u_after"])
    assert_close(stem["v"].reshape(3, 3, 3).transpose(2, 0, 1).ravel(), expected[f"{name}/conv1_v_after"])


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
