"""The authors' files: what PyTorch wrote comes back, numbers agree, and nothing in a file is ever run.

tests/data/torch_files was made by tests/data/make_torch_files.py.
"""

import json
import pathlib
import pickle
import zipfile

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import parity
import pytest
from opcodes import DISTRIBUTION, body, tensor, write_zip
from parity import ARCHITECTURES, assert_close, nhwc

from fdrl_jax import convert, models, priors, schema, state, steps
from fdrl_jax.divergences import CHI2
from fdrl_jax.losses import LOSSES
from fdrl_jax.types import InputError

FILES = pathlib.Path(__file__).parent / "data" / "torch_files"

with np.load(FILES / "expected.npz") as _arrays:
    EXPECTED = dict(_arrays)

SMALL = (models.Stage(4, 2, 1), models.Stage(8, 1, 2))


def full():
    return convert.read_checkpoint(FILES / "full.pt")[0]


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
def test_attention_is_where_the_authors_put_it(pixels, widths, attention):
    stages = tuple(models.Stage(width, 1, 2) for width in widths)
    architecture = convert.Architecture(4, stages, attention, False, (pixels, pixels, 3))
    network = random_network(architecture)
    assert convert.from_torch_state_dict(convert.to_torch_state_dict(network), pixels).architecture == architecture


def random_network(architecture):
    network = convert.Network(architecture, {}, {})
    estimator = network.estimator("ratio")
    params = parity.random_params(estimator)
    return convert.Network(architecture, params, estimator.init_spectral(jax.random.key(0), params))


def change(**entries):
    """The state_dict of a network with spectral norm and attention, with some entries replaced, or removed by None."""
    named = convert.to_torch_state_dict(full()) | {name.replace("__", "."): x for name, x in entries.items()}
    return {name: x for name, x in named.items() if x is not None}


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
        ({"module__linear__bias": np.ones(1)}, r"'linear\.bias' is there with and without 'module\.'"),
    ],
)
def test_a_state_dict_that_is_not_of_such_a_network_is_refused(entries, message):
    with pytest.raises(InputError, match=message):
        convert.from_torch_state_dict(change(**entries), image_size=8)


def test_a_table_beyond_the_paper_needs_its_image_size():
    with pytest.raises(InputError, match=r"\(\(4, 2, 1\), \(8, 1, 2\)\) are not in Table 3.*say image_size="):
        convert.from_torch_state_dict(change())
    assert convert.from_torch_state_dict(change(), image_size=16).architecture.event_shape == (16, 16, 3)
    for wrong in (0, -8, True):
        with pytest.raises(InputError, match=r"image_size = .* must be an integer"):
            convert.from_torch_state_dict(change(), image_size=wrong)


def test_nothing_at_all_is_refused():
    with pytest.raises(InputError, match=r"'conv1\.weight' is missing"):
        convert.from_torch_state_dict({})


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_other_real_numbers_become_float32(dtype):
    network = convert.from_torch_state_dict({name: x.astype(dtype) for name, x in change().items()}, 8)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((network.params, network.spectral)))
    assert_close(network.params["head"]["kernel"], full().params["head"]["kernel"], 2**-8)


# --- what a network does ---


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
    recipe = steps.Recipe(
        network.estimator("ratio"), LOSSES["lsif"], CHI2.output_derivative("ratio"), num_steps=2, step_size=1.0,
        noise=0.01, guided=True, dequantize_sigma=0.0, ema_decay=0.9,
    )  # fmt: skip
    current = state.create_state(network.params, optimizer, network.spectral)
    train_step = steps.make_train_step(recipe, optimizer)
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


# --- safetensors ---


# As of the digits recipe, which breaks the rule for strides; attention where the authors never have it.
OURS = convert.Architecture(
    8, (models.Stage(8, 1, 2), models.Stage(16, 1, 1), models.Stage(16, 1, 2)), 3, True, (8, 8, 1)
)


@pytest.mark.parametrize("architecture", [OURS, ARCHITECTURES["resnet64"]], ids=["ours", "table-3"])
def test_safetensors_round_trip_is_exact(architecture, tmp_path):
    network = random_network(architecture)
    convert.save_safetensors(tmp_path / "a.safetensors", network)
    loaded, config = convert.read_checkpoint(tmp_path / "a.safetensors")
    assert (loaded.architecture, config) == (architecture, {})
    jax.tree.map(np.testing.assert_array_equal, loaded.params, network.params)
    jax.tree.map(np.testing.assert_array_equal, loaded.spectral, network.spectral)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_safetensors_of_others_are_read_by_the_rules(tmp_path):
    from safetensors.numpy import save_file

    save_file(change(), tmp_path / "a.safetensors")
    network = convert.load_safetensors(tmp_path / "a.safetensors", image_size=8)
    assert network.architecture == full().architecture
    with pytest.raises(InputError, match=r"a\.safetensors: .*say image_size="):
        convert.load_safetensors(tmp_path / "a.safetensors")


@pytest.mark.parametrize("damage", ["number", "cut", "header", "empty"])
def test_damaged_safetensors_are_refused(damage, tmp_path):
    path = tmp_path / "a.safetensors"
    convert.save_safetensors(path, full())
    content = bytearray(path.read_bytes())
    if damage == "number":
        content[-1000] ^= 1  # The format itself would not notice.
    elif damage == "header":
        content[20] ^= 255
    else:
        content = content[: len(content) // 2 if damage == "cut" else 0]
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.safetensors is damaged"):
        convert.load_safetensors(path)


def test_metadata_that_does_not_fit_is_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "a.safetensors"
    for metadata in ("[]", "{}", "no json", json.dumps({"sha256": 1})):
        convert.save_safetensors(path, full())
        save_file(load_file(path), path, {"fdrl_jax": metadata})
        with pytest.raises(InputError, match="is damaged"):
            convert.load_safetensors(path)


def test_places_that_cannot_be_are_named(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        convert.save_safetensors(tmp_path / "missing" / "a.safetensors", full())
    for path in (tmp_path, tmp_path / "missing.safetensors"):
        with pytest.raises(InputError, match="is not a file"):
            convert.load_safetensors(path)


# --- checkpoints ---


@pytest.mark.parametrize("name", ["state_dict.pt", "state_dict_legacy.pt"])
def test_a_bare_state_dict_is_a_network(name):
    network, config = convert.read_checkpoint(FILES / name, image_size=8)
    assert_close(network(nhwc(EXPECTED["plain/x"])), EXPECTED["plain/online"])
    assert config == {}


def checkpoint_with(tmp_path, **entries):
    """A checkpoint whose entries are plain values, or of full.pt."""
    path, plain = tmp_path / "a.pt", {"step": 1} | entries
    path.write_bytes(pickle.dumps(plain, 2))
    return path


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"model": [1]}, r"a\.pt: 'model' is a list, not a state_dict"),
        ({"model": {}, "config": [1], "ema": {}}, r"a\.pt: 'config' is a list, not a dict"),
        ({"model": {"conv1.weight": 1.0}}, r"a\.pt: there are no averaged parameters \('ema'\).*ema=False"),
        ({"model": {"conv1.weight": 1.0}, "ema": {}}, r"a\.pt: entry 'conv1\.weight' is missing from 'ema'"),
        ({"model": {"conv1.weight": 1.0}, "ema": {"conv1.weight": 1.0}}, r"a\.pt: entry 'conv1\.weight' is float"),
        ({"weights": 1.0}, r"a\.pt: entry 'step' is int, not an array"),
    ],
)
def test_another_dict_is_no_checkpoint(entries, message, tmp_path):
    with pytest.raises(InputError, match=message):
        convert.read_checkpoint(checkpoint_with(tmp_path, **entries))


def test_files_of_other_kinds_are_refused(tmp_path):
    (tmp_path / "text.pt").write_text("This is no checkpoint.\n")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "list.pt").write_bytes(pickle.dumps([1]))
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    np.save(tmp_path / "array.npy", np.ones(3))
    for name, message in (
        ("text.pt", r"text\.pt is damaged, or no file of torch\.save"),
        ("empty.pt", r"empty\.pt is damaged, or no file of torch\.save"),
        ("zip.pt", r"zip\.pt is damaged, or no file of torch\.save \(a zip file without a data\.pkl\)"),
        ("array.npy", r"array\.npy is damaged, or no file of torch\.save"),
        ("list.pt", r"list\.pt holds a list, not a checkpoint or state_dict"),
        ("missing.pt", r"missing\.pt cannot be read \(No such file"),
        ("", r"cannot be read \(Is a directory"),
    ):
        with pytest.raises(InputError, match=message) as error:
            convert.read_checkpoint(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"ddp\.pt is refused: it refers to 'torch\.distributions"):
        convert.read_checkpoint(FILES / "ddp.pt")


# --- the prior ---


@pytest.mark.parametrize("name", ["ddp.pt", "ddp.pickle"])
def test_the_prior_is_that_of_pytorch_over_rows_columns_channels(name):
    mean, factor = convert.read_ddp(FILES / name)
    assert mean.shape == (2, 2, 3)
    assert mean.dtype == factor.dtype == np.float32
    np.testing.assert_array_equal(mean, EXPECTED["ddp/mean"].reshape(3, 2, 2).transpose(1, 2, 0))
    covariance = EXPECTED["ddp/covariance"].reshape(3, 2, 2, 3, 2, 2).transpose(1, 2, 0, 4, 5, 3).reshape(12, 12)
    assert_close(factor @ factor.T, covariance)
    # As the prior that flows start from.
    prior = priors.Gaussian(jnp.asarray(mean), jnp.asarray(factor), clip=None)
    draws = prior.sample(jax.random.split(jax.random.key(0), 20_000))
    assert_close(np.cov(np.asarray(draws).reshape(-1, 12).T), covariance, 0.05)


def test_another_shape_of_image_can_be_said():
    mean, _ = convert.read_ddp(FILES / "ddp.pt", (3, 4, 1))
    np.testing.assert_array_equal(mean[..., 0], EXPECTED["ddp/mean"].reshape(3, 4))
    with pytest.raises(InputError, match=r"over 12 numbers, not images \[2, 2, 2\]"):
        convert.read_ddp(FILES / "ddp.pt", (2, 2, 2))


@pytest.mark.parametrize(
    ("mean", "factor", "message"),
    [
        (body(None), tensor(16, 0, (4, 4), (4, 1)), "no 'loc' of real numbers and 1 axes"),
        (tensor(16, 0, (2, 2), (2, 1)), tensor(16, 0, (4, 4), (4, 1)), "no 'loc' of real numbers and 1 axes"),
        (tensor(16, 0, (4,), (1,)), tensor(16, 0, (1, 4, 4), (0, 4, 1)), "no '_unbroadcasted_scale_tril' of real"),
        (tensor(16, 0, (4,), (1,)), tensor(16, 0, (3, 4), (4, 1)), r"a mean of 4 numbers and a factor \[3, 4\]"),
        (tensor(16, 0, (4,), (1,)), tensor(16, 0, (3, 3), (3, 1)), r"a mean of 4 numbers and a factor \[3, 3\]"),
        (tensor(16, 12, (4,), (1,)), tensor(16, 0, (4, 4), (4, 1)), "numbers in 'loc' that are not finite"),
        (
            tensor(16, 0, (2,), (1,)),
            tensor(16, 0, (2, 2), (2, 1)),
            r"over 2 numbers, not square images .*say event_shape=",
        ),
    ],
)
def test_a_distribution_that_is_no_prior_over_images_is_refused(mean, factor, message, tmp_path):
    attributes = b"}(" + body("loc") + mean + body("_unbroadcasted_scale_tril") + factor + b"u"
    numbers = np.append(np.ones(15, np.float32), np.float32(np.inf))
    write_zip(tmp_path / "a.pt", DISTRIBUTION + b")\x81" + attributes + b"b", {"data/0": numbers.tobytes()})
    with pytest.raises(InputError, match=message):
        convert.read_ddp(tmp_path / "a.pt")


def test_something_else_is_no_prior(tmp_path):
    with pytest.raises(InputError, match="holds a dict, not a MultivariateNormal"):
        convert.read_ddp(FILES / "plain.pt")
