"""Interpolation between prior draws: the arc, the noise along a row, and priors that cannot be interpolated."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shrink

import fdrl_jax
from fdrl_jax import priors
from fdrl_jax.inference import interpolation
from fdrl_jax.methods import ratio_flow
from fdrl_jax.types import InputError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return shrink.trained(shrink.tiny_digits(), tmp_path_factory.mktemp("digits") / "run")


def test_spherical_is_the_arc():
    start, end = np.random.default_rng(3).standard_normal((2, 5, 100))
    start, end = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (start, end))
    path = interpolation.spherical(start, end, np.linspace(0, 1, 7))
    np.testing.assert_allclose(path[0], start, atol=1e-12)
    np.testing.assert_allclose(path[-1], end, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(path, axis=2), 1, atol=1e-12)
    angles = np.arccos((path[1:] * path[:-1]).sum(axis=2))
    np.testing.assert_allclose(angles, np.broadcast_to(angles[0], angles.shape), atol=1e-6)


def test_spherical_of_one_direction_is_a_straight_line():
    x = np.array([[1.0, 2.0], [0.0, 0.0]])
    path = interpolation.spherical(x, np.array([[2.0, 4.0], [1.0, 0.0]]), np.array([0.25]))
    np.testing.assert_allclose(path[0, 0], [1.25, 2.5])
    assert np.isfinite(path).all()


def test_interpolation_ends_do_not_depend_on_what_is_between(model):
    short, long = (fdrl_jax.interpolate(model, 2, 3, n) for n in (2, 5))
    assert (long.shape, long.dtype) == ((3, 5, 8, 8, 1), np.float32)
    np.testing.assert_allclose(short[:, 0], long[:, 0], atol=1e-6)
    np.testing.assert_allclose(short[:, 1], long[:, 4], atol=1e-6)
    middle = np.abs(long[:, 1:] - long[:, :-1]).max(axis=(2, 3, 4))
    assert (middle > 1e-3).all()
    assert np.abs(long).max() <= 1


def test_one_noise_for_a_row_and_another_for_the_next(model, monkeypatch):
    still = lambda start, end, t: np.zeros((len(t), *start.shape), np.float32)  # noqa: E731
    monkeypatch.setattr(interpolation, "spherical", still)
    images = fdrl_jax.interpolate(model, 0, 2, 3)
    np.testing.assert_array_equal(images[:, 0], images[:, 2])
    assert np.abs(images[0] - images[1]).max() > 1e-3
    # Row i has the noise that sample i has in `sampling.sample`.
    start = jnp.array(model.prior.from_normal(np.zeros((2, 64), np.float32)))
    zero = jnp.asarray(0)
    expected = ratio_flow.advance(model.experiment.method.recipe, model.params, jax.random.key(0), start, zero, zero, 5)
    np.testing.assert_allclose(images[:, 1], np.clip(expected, -1, 1), atol=1e-6)


@pytest.mark.parametrize("prior", [priors.Uniform((8, 8, 1)), priors.Normal((8, 8, 1), 0.3)], ids=repr)
def test_other_priors_are_interpolated_too(model, prior):
    images = fdrl_jax.interpolate(dataclasses.replace(model, prior=prior), 0, 4, 3, num_steps=0)
    assert images.shape == (4, 3, 8, 8, 1)
    # All starts have the distribution of the prior. On a straight line the variance would be halved in the middle.
    spread = images.std(axis=(0, 2, 3, 4))
    np.testing.assert_allclose(spread, spread[0], rtol=0.15)


def test_a_set_of_images_is_not_interpolated(model):
    images = priors.Empirical(np.zeros((2, 8, 8, 1), np.uint8))
    with pytest.raises(InputError, match="this run's is Empirical"):
        fdrl_jax.interpolate(dataclasses.replace(model, prior=images), 0, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 3), "num_pairs = 0 must be an integer of at least 1"),
        ((0, 2, 1), "num_between = 1 must be an integer of at least 2"),
        ((0, 2, 3, -1), "num_steps = -1 must be"),
        ((-1, 2, 3), "key = -1 must be"),
        (("x", 2, 3), "key must be one PRNG key"),
    ],
)
def test_interpolation_needs_two_ends(model, arguments, message):
    with pytest.raises(InputError, match=message):
        fdrl_jax.interpolate(model, *arguments)
