"""Bilinear resizing against TensorFlow 1 (as in torch-fidelity) and PyTorch (tests/goldens/make_inception.py).

Covers: `features.resize`.
"""

import functools
import hashlib

import inception_inputs as inputs
import jax.numpy as jnp
import numpy as np
import pytest
from parity import assert_close
from paths import GOLDENS

from fdrl_jax.evaluation.features import resize


@functools.cache
def golden():
    with np.load(GOLDENS / "inception.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("case", inputs.RESIZES)
def test_tensorflow1_resize_is_exact(case):
    images = jnp.asarray(inputs.images(case, (1, *inputs.RESIZES[case], 3)), jnp.float32)
    actual = np.asarray(resize.tensorflow1(images, 299, 299))
    np.testing.assert_array_equal(actual[0, ::23, ::19], golden()[f"tensorflow1/{case}"])
    assert hashlib.sha256(actual.tobytes()).hexdigest() == golden()[f"tensorflow1/{case}/sha256"]


@pytest.mark.parametrize("case", inputs.RESIZES)
def test_half_pixel_resize_agrees_with_pytorch(case):
    images = jnp.asarray(inputs.images(case, (1, *inputs.RESIZES[case], 3)), jnp.float32)
    assert_close(np.asarray(resize.half_pixel(images, 299, 299))[0, ::23, ::19], golden()[f"half_pixel/{case}"], 1e-6)
