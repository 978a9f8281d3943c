"""Checks of arguments: the values that each accepts, and those that it refuses in one line."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdrl_jax.types import MAX_SEED, InputError
from fdrl_jax.utils import validation


def test_every_form_of_key_gives_the_same_numbers():
    expected = jax.random.normal(jax.random.key(3), (4,))
    for key in (3, np.int64(3), jax.random.key(3), jax.random.PRNGKey(3), np.asarray(jax.random.PRNGKey(3))):
        np.testing.assert_array_equal(jax.random.normal(validation.root_key(key), (4,)), expected)


@pytest.mark.parametrize(
    "key", [-1, MAX_SEED + 1, 1.5, None, "3", True, jax.random.split(jax.random.key(0)), np.zeros(2)]
)
def test_a_key_of_another_form_is_refused(key):
    with pytest.raises(InputError, match=r"^key "):
        validation.root_key(key)


def test_arrays_are_returned_unchanged_and_lists_are_converted():
    for array in (np.zeros(3), jnp.zeros(3), np.zeros(3, bool)):
        assert validation.require_array("x", array, "numbers") is array
    np.testing.assert_array_equal(validation.require_array("x", [[1, 2], [3, 4]], "numbers"), [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1.0], [1.0, 2.0]], "x is a list that is not an array: give numbers"),
        (None, "x is NoneType, not an array of numbers: give numbers"),
        (["a", "b"], "x is an array of <U1, not an array of numbers: give numbers"),
    ],
)
def test_a_value_that_is_no_array_of_numbers_is_refused(value, message):
    with pytest.raises(InputError, match=re.escape(message)):
        validation.require_array("x", value, "numbers")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((0, 2), np.float32), "x has no examples: give at least one"),
        (np.zeros((3, 4), np.float32), "x is float32 [3, 4], not float [batch, 2]"),
        (np.float32(1), "x is float32 [], not float [batch, 2]"),
        (np.zeros((3, 2), np.int32), "x is int32 [3, 2], not float [batch, 2]"),
        (np.zeros((3, 2), np.uint8), "x is uint8 [3, 2], not float [batch, 2]; images of uint8 are x / 127.5 - 1"),
        (np.array([[0, np.nan], [np.inf, 0]], np.float32), "x has 2 values that are not finite"),
    ],
)
def test_examples_of_another_shape_dtype_or_value_are_refused(value, message):
    with pytest.raises(InputError, match=re.escape(message)):
        validation.require_examples("x", value, (2,))


def test_finiteness_is_not_checked_inside_a_transformation():
    def checked(x):
        validation.require_finite("x", x)
        return x.sum()

    assert jnp.isnan(jax.jit(checked)(jnp.array([1.0, jnp.nan])))


def test_paths():
    for value in ("a/b", pathlib.Path("a/b")):
        assert validation.require_path("workdir", value, "a run") == pathlib.Path("a/b")
    for value in (None, 3, b"a/b", "a\0b"):
        with pytest.raises(InputError, match=r"^workdir = .* must be the path of a run$"):
            validation.require_path("workdir", value, "a run")


def test_home_folders_are_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert validation.expanded("~/data") == pathlib.Path("/home/someone/data")
    assert validation.expanded("data/~") == pathlib.Path("data/~")
    with pytest.raises(InputError, match=r"^~no-such-user/data: there is no home folder of that user"):
        validation.expanded("~no-such-user/data")


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (validation.require_bool, [True, False, np.True_], [1, 0, None, "yes"]),
        (
            lambda name, x: validation.require_number(name, x, 0),
            [0, 1.5, np.float32(2)],
            [-1, np.nan, np.inf, True, "1"],
        ),
        (lambda name, x: validation.require_number(name, x, 0, 1, open_minimum=True), [1e-9, 1], [0, 1.1]),
        (lambda name, x: validation.require_integer(name, x, 1, 9), [1, 9, np.int32(4)], [0, 10, 2.0, True, None]),
    ],
)
def test_numbers_and_flags(check, good, bad):
    for value in good:
        check("field", value)
    for value in bad:
        with pytest.raises(InputError, match=f"^field = {re.escape(repr(value))} must be "):
            check("field", value)


def test_an_object_that_is_no_model_is_refused():
    with pytest.raises(InputError, match=r"^model is a dict, not a model: give what fdrl_jax\.load returns$"):
        validation.require_model({})
