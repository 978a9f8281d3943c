"""A compiled function over any number of images, in batches of one size.

Covers: `fixed_size_batches`.
"""

import jax
import numpy as np
import pytest

from fdrl_jax.models.fixed_size_batches import in_batches


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_is_evaluated_once_and_every_batch_has_the_same_shape(count, channels):
    images = np.random.default_rng(0).integers(0, 256, (count, 2, 2, channels)).astype(np.uint8)
    shapes = set()

    @jax.jit
    def function(x):
        shapes.add(x.shape)
        return x.reshape(len(x), -1).astype("float32")

    result = in_batches(function, images, batch_size=4, dimension=12)
    expected = np.broadcast_to(images, (count, 2, 2, 3)).reshape(count, 12).astype(np.float32)
    np.testing.assert_array_equal(result, expected, strict=True)
    assert shapes <= {(4, 2, 2, 3)}
