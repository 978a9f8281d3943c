"""Images of another domain as the prior: which images are drawn, their noise and their flips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import assert_close

from fdrl_jax.priors import Empirical, Prior
from fdrl_jax.utils import rng
from fdrl_jax.utils.pixel_scaling import to_float

pytestmark = pytest.mark.usefixtures("strict_promotion")

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), dtype=np.uint8)
KEYS = rng.per_sample(jax.random.key(3), 4000)


def nearest(draws, images):
    """The index of the image nearest to each draw, and the distance to it."""
    distance = np.abs(np.asarray(draws)[:, None] - to_float(images)[None]).max(axis=(2, 3, 4))
    return distance.argmin(axis=1), distance.min(axis=1)


def test_each_image_is_drawn_equally_often():
    prior = Empirical(jnp.asarray(IMAGES))
    assert isinstance(prior, Prior)
    assert prior.event_shape == (4, 5, 3)
    draws = prior.sample(KEYS)
    assert (draws.shape, draws.dtype) == ((4000, 4, 5, 3), jnp.float32)
    index, distance = nearest(draws, IMAGES)
    assert distance.max() < 1e-6  # Rounding error: XLA multiplies by 1 / 127.5.
    counts = np.bincount(index, minlength=7)
    assert (np.abs(counts - 4000 / 7) < 4 * np.sqrt(4000 / 7)).all()


def test_noise_is_gaussian_and_not_clipped():
    white = Empirical(jnp.full((1, 4, 5, 3), 255, jnp.uint8), noise=0.03)
    draws = np.asarray(white.sample(KEYS), np.float64)
    assert draws.max() > 1
    assert abs(draws.mean() - 1) < 4 * 0.03 / np.sqrt(draws.size)
    assert draws.std() == pytest.approx(0.03, rel=4 / np.sqrt(2 * draws.size))


def test_flips_mirror_left_to_right_half_of_the_time():
    draws = Empirical(jnp.asarray(IMAGES), flip=True).sample(KEYS)
    both = np.concatenate([IMAGES, IMAGES[:, :, ::-1]])
    index, distance = nearest(draws, both)
    assert distance.max() < 1e-6  # Rounding error: XLA multiplies by 1 / 127.5.
    assert abs((index >= 7).mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)
    # Flips do not depend on which image was drawn.
    assert (np.bincount(index, minlength=14) > 4000 / 14 - 5 * np.sqrt(4000 / 14)).all()


def test_a_draw_depends_on_its_key_alone_and_the_prior_can_be_passed_to_jit():
    prior = Empirical(jnp.asarray(IMAGES), noise=0.1, flip=True)
    draws = jax.jit(lambda prior, keys: prior.sample(keys))(prior, KEYS)
    assert_close(prior.sample(KEYS[5:8]), draws[5:8])
