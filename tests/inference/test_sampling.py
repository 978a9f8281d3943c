"""Sampling in Python: `sample`, `trajectory` and `states_at`, and the models that `load` gives them.

Covers: `sampling`.
"""

import jax
import numpy as np
import pytest
import shrink

import fdrl_jax
from fdrl_jax.experiment import checkpoint
from fdrl_jax.experiment.model import abstract_state
from fdrl_jax.inference import sampling
from fdrl_jax.types import InputError


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("digits")
    config = shrink.tiny_digits()
    config.flow.num_steps = 23  # Not divisible into the pieces of the progress bar, of at most 10 steps.
    shrink.trained(config, workdir)
    return fdrl_jax.load(workdir)


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("points")
    shrink.trained(shrink.tiny_points(), workdir)
    return fdrl_jax.load(workdir)


def sample(model, *args, **kwargs):
    return fdrl_jax.sample(model, *args, progress=False, **kwargs)


def test_images_are_float32_in_range(digits):
    images = sample(digits, jax.random.key(0), 5)
    assert images.shape == (5, 8, 8, 1)
    assert images.dtype == np.float32
    assert np.abs(images).max() <= 1
    assert images.std(axis=0).max() > 0.1  # The five images differ.


def test_points_are_not_clipped(points):
    assert sample(points, 0, 2000, num_steps=0).shape == (2000, 2)
    # The deviation is 0.316, so the largest of 4000 numbers is near 1.2.
    assert np.abs(sample(points, 0, 2000, num_steps=0)).max() > 1


@pytest.mark.parametrize("batch_size", [1, 3, 7, 50])
def test_sample_i_does_not_depend_on_the_batch(digits, batch_size):
    expected = sample(digits, 0, 7)
    # The results are not equal bit for bit: XLA sums a convolution in another order for another batch size.
    np.testing.assert_allclose(sample(digits, 0, 7, batch_size=batch_size), expected, atol=2e-5)


def test_fewer_samples_are_the_first_of_more(digits):
    np.testing.assert_allclose(sample(digits, 0, 3), sample(digits, 0, 7)[:3], atol=2e-5)


def test_seeds_differ_and_repeat(points):
    np.testing.assert_array_equal(sample(points, 1, 4), sample(points, jax.random.key(1), 4))
    assert np.abs(sample(points, 1, 4) - sample(points, 2, 4)).min() > 1e-4


def test_old_style_keys_and_numpy_integers_are_taken(points):
    expected = sample(points, jax.random.key(1), 4)
    np.testing.assert_array_equal(sample(points, jax.random.PRNGKey(1), 4), expected)
    function = fdrl_jax.sample.__wrapped__  # Without the type checks of the tests, which refuse np.int64 as int.
    np.testing.assert_array_equal(function(points, np.asarray(jax.random.PRNGKey(1)), 4, progress=False), expected)
    np.testing.assert_array_equal(function(points, np.int64(1), np.int64(4), progress=False), expected)


def test_num_steps_defaults_to_k_plus_kappa(digits):
    flow = digits.experiment.config["flow"]
    assert flow["kappa"] > 0
    expected = sample(digits, 0, 2, num_steps=flow["num_steps"] + flow["kappa"])
    np.testing.assert_array_equal(sample(digits, 0, 2), expected)


def test_no_steps_is_the_prior(digits):
    draws = sample(digits, 0, 500, num_steps=0)
    # The prior's mean is the mean image. Clipped draws have a deviation of at most 0.8, so the mean of 500 has a
    # standard error of at most 0.04 per pixel; the tolerance is about four times that.
    np.testing.assert_allclose(draws.mean(axis=0), digits.prior.mean, atol=0.15)


def test_the_trajectory_ends_at_the_sample(digits):
    steps, states = fdrl_jax.trajectory(digits, 0, 3, every=10, num_steps=23)
    assert steps.tolist() == [0, 10, 20, 23]
    assert states.shape == (4, 3, 8, 8, 1)
    np.testing.assert_allclose(states[-1], sample(digits, 0, 3, num_steps=23), atol=2e-5)
    np.testing.assert_allclose(states[0], sample(digits, 0, 3, num_steps=0), atol=1e-6)
    np.testing.assert_allclose(states[1], sample(digits, 0, 3, num_steps=10), atol=2e-5)


def test_sampling_uses_the_ema_parameters(points, tmp_path):
    config = shrink.tiny_points()
    config.optimizer.learning_rate = 0.1  # Large, so that four steps separate the averaged parameters from the others.
    shrink.trained(config, tmp_path)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        state = checkpoints.restore(4, abstract_state(points.experiment))
    jax.tree.map(np.testing.assert_array_equal, fdrl_jax.load(tmp_path).params, state.ema_params)
    jax.tree.map(np.testing.assert_array_equal, fdrl_jax.load(tmp_path, ema=False).params, state.params)
    assert not np.allclose(state.params["head"]["bias"], state.ema_params["head"]["bias"], rtol=1e-2)


def test_an_older_checkpoint_can_be_loaded(points, tmp_path):
    shrink.trained(shrink.tiny_points(), tmp_path)
    assert fdrl_jax.load(tmp_path, step=2).step == 2
    assert fdrl_jax.load(tmp_path).step == 4


def test_ratio_fn_is_the_density_ratio(digits, points):
    # Both networks start at r = 1 and have made four training steps; for points the output is log r.
    for model in (digits, points):
        r = model.ratio_fn(sample(model, 0, 10, num_steps=0))
        assert r.shape == (10,)
        np.testing.assert_allclose(r, 1, atol=0.3)


def test_the_directory_alone_is_enough(digits, tmp_path):
    workdir = tmp_path / "moved"
    shrink.trained(shrink.tiny_digits(), tmp_path / "made")
    expected = sample(fdrl_jax.load(tmp_path / "made"), 0, 2)
    (tmp_path / "made").rename(workdir)
    np.testing.assert_array_equal(sample(fdrl_jax.load(str(workdir)), 0, 2), expected)


def test_progress_is_shown_within_one_batch(digits, capsys):
    fdrl_jax.sample(digits, 0, 2)
    assert "50.0/50.0" in capsys.readouterr().err  # 2 samples of 25 flow steps.


def test_bad_directories(tmp_path):
    with pytest.raises(InputError, match="holds no training run"):
        fdrl_jax.load(tmp_path / "missing")
    with pytest.raises(InputError, match="holds no training run"):
        fdrl_jax.load(tmp_path)


# --- states at several lengths of the flow ---


@pytest.mark.parametrize("batch_size", [None, 3])
def test_states_at_are_the_samples_of_each_length(digits, batch_size):
    result = dict(sampling.states_at(digits, 4, 7, [0, 2, 5, 9], batch_size, progress=False))
    assert list(result) == [0, 2, 5, 9]
    for length, states in result.items():
        expected = sampling.sample(digits, 4, 7, num_steps=length, progress=False)
        np.testing.assert_allclose(states, expected, atol=2e-5)
    assert np.abs(result[9] - result[2]).max() > 1e-3


def test_states_at_may_be_changed_by_the_caller(points):
    for length, states in sampling.states_at(points, 0, 4, [1, 2], progress=False):
        states[:] = 0.0 if length == 1 else states
    np.testing.assert_allclose(states, sampling.sample(points, 0, 4, num_steps=2, progress=False), atol=1e-5)


@pytest.mark.parametrize("lengths", [[], [3, 2], [1, 1], [-1, 2]])
def test_states_at_refuses_lengths_that_do_not_increase(digits, lengths):
    with pytest.raises(InputError, match="lengths"):
        next(sampling.states_at(digits, 0, 2, lengths, progress=False))
