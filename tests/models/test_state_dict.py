"""State_dicts of the authors' networks: names and shapes, refusals, and the outputs of the networks.

Covers: `convert.layer_names`, `convert.network`, `convert.state_dict`.
"""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import parity
import pytest
from authors_files import EXPECTED, FILES, SMALL, change, full, random_network
from parity import ARCHITECTURES, assert_close, nhwc

from fdrl_jax import models, priors
from fdrl_jax.divergences import CHI2
from fdrl_jax.experiment import schema
from fdrl_jax.losses import LOSSES
from fdrl_jax.methods import fdrl_train_step, train_state
from fdrl_jax.models import convert
from fdrl_jax.types import InputError

# --- names and shapes ---


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_network_of_table_3_is_recognised_and_goes_back_exactly(name):
    network = parity.network(name)
    assert network.architecture == ARCHITECTURES[name]
    back, weights = convert.to_torch_state_dict(network), parity.torch_weights(name)
    assert back.keys() == weights.keys()
    for key, array in weights.items():
        assert back[key].dtype == np.float32
        np.testing.assert_array_equal(back[key], array)


def test_names_may_have_the_prefix_of_data_parallel():
    state_dict = convert.to_torch_state_dict(full())
    wrapped = convert.from_torch_state_dict({f"module.{key}": x for key, x in state_dict.items()}, image_size=8)
    jax.tree.map(np.testing.assert_array_equal, wrapped.params, full().params)
    jax.tree.map(np.testing.assert_array_equal, wrapped.spectral, full().spectral)


@pytest.mark.parametrize(
    ("pixels", "widths", "attention"), [(8, (8, 16), 2), (32, (8, 16), 1), (64, (8, 16), 2)], ids=lambda x: str(x)
)
def test_attention_follows_the_stage_that_the_authors_chose(pixels, widths, attention):
    stages = tuple(models.Stage(width, 1, 2) for width in widths)
    architecture = convert.Architecture(4, stages, attention, False, (pixels, pixels, 3))
    network = random_network(architecture)
    assert convert.from_torch_state_dict(convert.to_torch_state_dict(network), pixels).architecture == architecture


BAD = np.zeros((4, 4, 3, 3), np.float32)
BAD[1, 2] = np.nan


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"conv1__weight_orig": None}, r"'conv1\.weight_orig' is missing"),
        ({"linear__bias": None}, r"'linear\.bias' of the 8x8x3 network of 2-1 blocks, .* is missing"),
        ({"layer1__1__conv2__weight_u": None}, r"'layer1\.1\.conv2\.weight_u' of .* is missing"),
        ({"layer1__0__conv1__weight_orig": None}, r"'layer1\.0\.conv1\.weight_orig' is missing"),
        ({"self_attn_module__gamma": None}, r"'self_attn_module\.gamma' of .*attention after stage 2.* is missing"),
        ({"layer2__0__shortcut_conv__weight_orig": None}, r"'layer2\.0\.shortcut_conv\.weight_orig' of .* is missing"),
        ({"batchnorm__weight": np.ones(3)}, r"'batchnorm\.weight' does not belong"),
        ({"layer4__0__conv1__weight_orig": np.ones((8, 8, 3, 3))}, r"'layer4\.0\.conv1\.weight_orig' does not belong"),
        ({"conv1__weight": np.ones((4, 3, 3, 3))}, r"'conv1\.weight' does not belong"),
        ({"linear__bias": np.ones(2)}, r"'linear\.bias' has shape \[2\], not \[1\]"),
        ({"conv1__weight_v": np.ones(26)}, r"'conv1\.weight_v' has shape \[26\], not \[27\]"),
        ({"conv1__weight_orig": np.ones((4, 27))}, r"'conv1\.weight_orig' has shape \[4, 27\], which is not that of a"),
        ({"layer1__0__conv1__weight_orig": BAD}, r"'layer1\.0\.conv1\.weight_orig' has numbers that are not finite"),
        ({"linear__bias": np.array([1e300])}, r"'linear\.bias' has numbers that are not finite in float32"),
        ({"linear__bias": np.array([1])}, r"'linear\.bias' is an array of int64, not an array of real numbers"),
        ({"linear__bias": [1.0]}, r"'linear\.bias' is list, not an array of real numbers"),
        ({"conv1__weight_u": np.zeros(4)}, r"'conv1\.weight_u' makes a spectral norm of 0"),
        ({"module__linear__bias": np.ones(1)}, r"'linear\.bias' occurs with and without the prefix 'module\.'"),
    ],
)
def test_a_state_dict_of_another_network_is_refused(entries, message):
    with pytest.raises(InputError, match=message):
        convert.from_torch_state_dict(change(**entries), image_size=8)


def test_a_table_beyond_the_paper_needs_its_image_size():
    with pytest.raises(InputError, match=r"\(\(4, 2, 1\), \(8, 1, 2\)\) are not in Table 3.*pass image_size="):
        convert.from_torch_state_dict(change())
    assert convert.from_torch_state_dict(change(), image_size=16).architecture.event_shape == (16, 16, 3)
    for wrong in (0, -8, True):
        with pytest.raises(InputError, match=r"image_size = .* must be an integer"):
            convert.from_torch_state_dict(change(), image_size=wrong)


def test_an_empty_state_dict_is_refused():
    with pytest.raises(InputError, match=r"'conv1\.weight' is missing"):
        convert.from_torch_state_dict({})


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_other_real_numbers_become_float32(dtype):
    network = convert.from_torch_state_dict({name: x.astype(dtype) for name, x in change().items()}, 8)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((network.params, network.spectral)))
    assert_close(network.params["head"]["kernel"], full().params["head"]["kernel"], 2**-8)


# --- the network ---


@pytest.mark.parametrize("name", ["plain", "full"])
@pytest.mark.parametrize("weights", ["online", "ema"])
def test_outputs_are_those_of_pytorch(name, weights):
    network, config = convert.read_checkpoint(FILES / f"{name}.pt", ema=weights == "ema")
    assert network.architecture == convert.Architecture(4, SMALL, 2 if name == "full" else 0, name == "full", (8, 8, 3))
    outputs = network(nhwc(EXPECTED[f"{name}/x"]))
    assert outputs.dtype == jnp.float32
    assert_close(outputs, EXPECTED[f"{name}/{weights}"])
    assert np.abs(EXPECTED[f"{name}/online"] - EXPECTED[f"{name}/ema"]).max() > 1e-3
    assert config["loss_function"] == "LSIF"
    assert config["eta"] == 3.0
    assert config["scheduler_steps"] == [1, 5]


def test_images_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"x has shape \[2, 8, 8, 1\], not \[batch, 8, 8, 3\]"):
        full()(np.zeros((2, 8, 8, 1), np.float32))


def test_the_estimator_starts_from_the_converted_weights():
    network = full()
    for precision, tolerance in (("float32", 1e-6), ("bf16", 0.05)):
        estimator = network.estimator("log_ratio", precision)
        assert (estimator.parameterisation, estimator.spectral_norm) == ("log_ratio", True)
        effective = estimator.effective(network.params, network.spectral)
        assert_close(estimator.apply(effective, jnp.asarray(nhwc(EXPECTED["full/x"]))), EXPECTED["full/ema"], tolerance)


def test_a_converted_network_trains_on():
    network, optimizer = full(), optax.sgd(0.01)
    recipe = fdrl_train_step.Recipe(
        network.estimator("ratio"), CHI2.output_derivative("ratio"), loss=LOSSES["lsif"], num_steps=2, step_size=1.0,
        noise=0.01, guided=True, dequantize_sigma=0.0, ema_decay=0.9,
    )  # fmt: skip
    current = train_state.create_state(network.params, optimizer, network.spectral)
    train_step = fdrl_train_step.make_train_step(recipe, optimizer)
    current, metrics = train_step(current, priors.Uniform((8, 8, 3)), jax.random.key(0), jnp.zeros((4, 8, 8, 3)))
    assert np.isfinite(metrics["loss"])
    assert metrics["grad_norm"] > 0


def test_config_names_the_fields_of_a_model():
    config = full().config()
    fields = schema.COMMON["model"] | schema.BY_NAME["model"]["resnet"]
    assert config.keys() == {"name"} | fields.keys()
    assert {name: check(config[name]) for name, check in fields.items()} == dict.fromkeys(fields)
    assert config["stages"] == ((4, 2, 1), (8, 1, 2))
    assert (config["name"], config["stem"], config["attention"], config["spectral_norm"]) == ("resnet", 4, 2, True)
