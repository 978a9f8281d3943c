"""The package's errors, and the largest seed."""

import jax
import numpy as np
import pytest

from fdrl_jax.types import MAX_SEED, DivergedError, InputError, StoppedError


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)


def test_a_diverged_error_knows_its_step():
    assert DivergedError("loss is NaN", step=3).step == 3
    assert DivergedError("loss is NaN").step is None


def test_a_stopped_error_is_not_caught_as_an_exception():
    assert not issubclass(StoppedError, Exception)
    assert (str(StoppedError("stopped", 15)), StoppedError("stopped", 15).signal) == ("stopped", 15)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_larger_seed_than_the_largest_would_repeat_a_smaller_one(seed):
    def words(seed):
        return np.asarray(jax.random.key_data(jax.random.key(seed)))

    np.testing.assert_array_equal(words(MAX_SEED + 1 + seed), words(seed))
    assert not np.array_equal(words(MAX_SEED), words(seed))
