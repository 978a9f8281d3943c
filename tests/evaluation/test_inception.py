"""Inception v3 against torch-fidelity's and torchvision's own modules (tests/goldens/make_inception.py).

Covers: `features.inception_v3`, `features.inception_fid`, `features.inception_torchvision`.
"""

import functools

import inception_inputs as inputs
import numpy as np
import pytest
import safetensors.numpy
from parity import assert_close
from paths import GOLDENS

from fdrl_jax.evaluation import features
from fdrl_jax.evaluation.features import inception_v3
from fdrl_jax.evaluation.features.inception_fid import inception_fid
from fdrl_jax.evaluation.features.inception_torchvision import inception_torchvision
from fdrl_jax.types import InputError

BATCH = 2


@functools.cache
def golden():
    with np.load(GOLDENS / "inception.npz") as arrays:
        return dict(arrays)


@functools.cache
def tensors(graph):
    return inputs.state_dict(inception_v3.shapes(graph))


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """A function from the graph to its feature space, made from a file of weights."""

    @functools.cache
    def get(graph):
        path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
        safetensors.numpy.save_file(tensors(graph), path)
        build = {"fid": inception_fid, "torchvision": inception_torchvision}[graph]
        result = build(path, batch_size=BATCH)
        path.unlink()
        return result

    return get


@pytest.mark.parametrize("size", inputs.SIZES)
def test_fid_graph_agrees_with_torch_fidelity(space, size):
    images = inputs.images(size, inputs.SIZES[size])
    assert len(images) % BATCH or size == "large"  # Otherwise no case would have an incomplete last batch.
    actual = space("fid").apply(images)
    assert actual.dtype == np.float32
    assert_close(actual, golden()[f"fid/{size}"])


@pytest.mark.parametrize("size", inputs.SIZES)
def test_torchvision_graph_agrees_with_torchvision(space, size):
    assert_close(space("torchvision").apply(inputs.floats(size, inputs.SIZES[size])), golden()[f"torchvision/{size}"])


def test_the_graphs_differ_by_more_than_the_tolerance(space):
    """Weights and images are equal, so the comparisons above detect a wrong pooling or input."""
    a, b = golden()["fid/large"], golden()["torchvision/large"]
    assert np.abs(a - b).max() > 1e-2 * np.abs(a).max()


@pytest.mark.parametrize("graph", ["fid", "torchvision"])
def test_grey_and_colour_images_are_accepted_and_other_arrays_refused(space, graph):
    images = inputs.images("small", (1, 32, 32, 1))
    grey = space(graph).apply(images)
    assert_close(grey, space(graph).apply(np.repeat(images, 3, axis=3)), 0)
    assert space(graph).apply(images[:0]).shape == (0, 2048)
    for wrong in (np.zeros((2, 5), np.float32), np.zeros((1, 8, 8, 2), np.uint8), np.zeros((1, 8, 8, 3), np.float64)):
        with pytest.raises(InputError, match=r"takes images, uint8.* \[n, H, W, 1 or 3\], not"):
            space(graph).apply(wrong)
    floats = images / np.float32(127.5) - 1
    if graph == "fid":
        with pytest.raises(InputError, match=r"takes images, uint8 \[n, H, W, 1 or 3\], not float32"):
            space(graph).apply(floats)
    else:
        assert_close(space(graph).apply(floats), grey)


def test_spaces_have_a_name_a_kind_of_input_and_a_fingerprint(space):
    fid, torchvision = space("fid"), space("torchvision")
    assert (fid.name, fid.takes) == ("inception", "uint8")
    assert (torchvision.name, torchvision.takes) == ("inception-torchvision", "float")
    assert fid.fingerprint != torchvision.fingerprint
    assert len(fid.fingerprint.rpartition("-")[2]) == 64


def test_other_weights_are_refused(tmp_path):
    good = tensors("fid")
    name = "Mixed_6c.branch7x7_2.conv.weight"
    cases = {
        "is missing": {k: v for k, v in good.items() if k != name},
        r"is of shape \[160, 160, 7, 1\], not of shape \[160, 160, 1, 7\]": good | {name: good[name].swapaxes(2, 3)},
        "has entries that are no finite numbers": good | {name: np.full_like(good[name], np.nan)},
    }
    for message, weights in cases.items():
        with pytest.raises(
            InputError, match=f"tensor 'Mixed_6c.branch7x7_2.conv.weight' {message}: it is not Inception"
        ):
            inception_v3.load(weights, "fid")
    with pytest.raises(InputError, match=r"'fc.weight' is of shape \[1008, 2048\], not of shape \[1000, 2048\]"):
        inception_v3.load(good, "torchvision")
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(2, np.float32)}, path)
    with pytest.raises(InputError, match=r"other.safetensors: tensor 'Conv2d_1a_3x3.conv.weight' is missing"):
        features.get("inception", path)
