"""Batch norms folded into the convolutions before them, and the check of a state_dict's tensors.

The networks that use them are compared with PyTorch's in tests/evaluation and tests/inference.

Covers: `folded_batch_norm`.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from parity import assert_close
from random_arrays import normal

from fdrl_jax.models.conv import plain_conv2d
from fdrl_jax.models.folded_batch_norm import check_shapes, convolve, fold, normalised_shapes
from fdrl_jax.types import InputError

SHAPES = normalised_shapes("conv", "bn", (4, 3, 3, 3))


def weights(**changes):
    generator = np.random.default_rng(0)
    drawn = {name: generator.uniform(0.5, 1.5, shape).astype(np.float32) for name, shape in SHAPES.items()}
    return drawn | {name.replace("__", "."): value for name, value in changes.items()}


def test_a_folded_layer_equals_the_convolution_and_the_batch_norm():
    tensors, x = weights(), normal((2, 5, 6, 3))
    kernel = jnp.asarray(tensors["conv.weight"].transpose(2, 3, 1, 0))
    mean, variance = tensors["bn.running_mean"], tensors["bn.running_var"]
    normalised = (plain_conv2d(x, kernel, 1) - mean) / np.sqrt(variance + 1e-3)
    layer = fold(tensors, "conv", "bn", 1e-3)
    assert layer["kernel"].dtype == layer["bias"].dtype == jnp.float32
    assert_close(convolve(layer, x, 1, "SAME"), normalised * tensors["bn.weight"] + tensors["bn.bias"])


def test_names_and_shapes_are_those_of_pytorch():
    vectors = ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"]
    assert {"conv.weight": (4, 3, 3, 3)} | dict.fromkeys(vectors, (4,)) == SHAPES
    check_shapes(weights(), SHAPES, "a test")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.ones(5, np.float32), r"'bn\.bias' is of shape \[5\], not of shape \[4\]: it is not a test"),
        ([1.0], r"'bn\.bias' is no tensor, not of shape \[4\]"),
        (np.array([1, 2, 3, np.nan], np.float32), r"'bn\.bias' has entries that are no finite numbers"),
        (np.arange(4), r"'bn\.bias' has entries that are no finite numbers"),
    ],
)
def test_tensors_of_another_network_are_refused(tensor, message):
    with pytest.raises(InputError, match=message):
        check_shapes(weights(bn__bias=tensor), SHAPES, "a test")


def test_a_missing_tensor_is_named():
    tensors = weights()
    del tensors["bn.running_var"]
    with pytest.raises(InputError, match=r"'bn\.running_var' is missing: it is not a test"):
        check_shapes(tensors, SHAPES, "a test")
