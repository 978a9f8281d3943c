"""Conversion of pixels between uint8 and floats in [-1, 1]."""

import jax.numpy as jnp
import numpy as np

from fdrl_jax.utils import pixel_scaling


def test_pixels_round_trip():
    values = np.arange(256, dtype=np.uint8)
    as_float = pixel_scaling.to_float(values)
    assert (as_float.dtype, as_float[0], as_float[-1]) == (np.float32, -1.0, 1.0)
    np.testing.assert_array_equal(pixel_scaling.to_uint8(as_float), values)
    np.testing.assert_array_equal(pixel_scaling.to_uint8(np.array([-9.0, 9.0])), [0, 255])
    assert pixel_scaling.to_float(as_float) is as_float


def test_arrays_of_jax_stay_arrays_of_jax():
    as_float = pixel_scaling.to_float(jnp.arange(256, dtype=jnp.uint8))
    assert isinstance(as_float, jnp.ndarray)
    np.testing.assert_allclose(as_float, pixel_scaling.to_float(np.arange(256, dtype=np.uint8)), atol=1e-7)


def test_bytes_map_linearly_onto_minus_one_to_one():
    floats = pixel_scaling.to_float(np.arange(256, dtype=np.uint8))
    np.testing.assert_allclose(floats, np.linspace(-1, 1, 256), atol=1e-6)


def test_floats_are_unchanged_and_out_of_range_floats_are_clipped():
    x = np.array([-3.0, -1.0, 0.0, 1.0, 7.0], np.float32)
    np.testing.assert_array_equal(pixel_scaling.to_float(x), x)
    np.testing.assert_array_equal(pixel_scaling.to_uint8(x), [0, 0, 128, 255, 255])  # 127.5 rounds to even.
