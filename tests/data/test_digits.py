"""scikit-learn's digits as a data set."""

import numpy as np
from sklearn.datasets import load_digits

from fdrl_jax import data
from fdrl_jax.utils.pixel_scaling import to_float, to_uint8


def test_digits_are_scikit_learns_scaled_to_the_range_of_bytes():
    digits = data.digits()
    assert isinstance(digits, data.Dataset)
    assert digits.examples.shape == (1797, 8, 8, 1)
    assert digits.examples.dtype == digits.batch(0, 0, 4).dtype == np.uint8
    assert digits.event_shape == (8, 8, 1)
    # The 17 grey levels are k / 16 of 255, rounded to the nearest integer.
    np.testing.assert_allclose(digits.examples[..., 0], load_digits().images * 255 / 16, atol=0.5)
    assert len(np.unique(digits.examples)) == 17
    assert (digits.examples.min(), digits.examples.max()) == (0, 255)
    np.testing.assert_array_equal(to_uint8(to_float(digits.examples)), digits.examples)
