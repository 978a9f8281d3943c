"""Images in place of a prior."""

import numpy as np
import pytest

from fdrl_jax.priors import FixedImages

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 2, 3, 1), dtype=np.uint8)


def test_the_last_image_fills_the_last_batch():
    fixed = FixedImages(IMAGES)
    assert fixed.event_shape == (2, 3, 1)
    np.testing.assert_array_equal(fixed.rows(1, 3), IMAGES[1:4])
    np.testing.assert_array_equal(fixed.rows(3, 4), IMAGES[[3, 4, 4, 4]])


@pytest.mark.parametrize(("dtype", "expected"), [(np.uint8, np.uint8), (np.float64, np.float32)])
def test_bytes_stay_bytes_and_floats_become_float32(dtype, expected):
    assert FixedImages(IMAGES.astype(dtype)).rows(0, 2).dtype == expected
