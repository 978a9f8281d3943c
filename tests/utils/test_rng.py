"""Random streams: a number depends on (root, name, step, sample index) and on nothing else."""

import itertools

import jax
import numpy as np
import pytest
from scipy import stats

from fdrl_jax.utils import rng

pytestmark = pytest.mark.usefixtures("strict_promotion")

ROOT = jax.random.key(3)


def bits(keys):
    return np.asarray(jax.random.key_data(keys))


def test_streams_differ_by_root_name_and_step():
    names = ("dequantize", "prior", "flow", "init", "data", "")  # The first five are those of the package.
    keys = [
        tuple(bits(rng.stream(root, name, step)))
        for root, name, step in itertools.product((ROOT, jax.random.key(4)), names, (0, 1, 100_000))
    ]
    assert len(set(keys)) == len(keys)


def test_stream_is_a_function_of_its_arguments_traced_or_not():
    np.testing.assert_array_equal(
        bits(rng.stream(ROOT, "flow", 5)), bits(jax.jit(lambda step: rng.stream(ROOT, "flow", step))(5))
    )
    np.testing.assert_array_equal(bits(rng.stream(ROOT, "flow")), bits(rng.stream(ROOT, "flow", 0)))


def test_sample_keys_are_distinct_and_depend_on_the_index_not_the_batch():
    keys = bits(rng.per_sample(ROOT, 100))
    assert len(np.unique(keys, axis=0)) == 100
    np.testing.assert_array_equal(bits(rng.per_sample(ROOT, 7)), keys[:7])
    np.testing.assert_array_equal(bits(rng.per_sample(ROOT, 20, first=60)), keys[60:80])
    np.testing.assert_array_equal(bits(jax.jit(lambda first: rng.per_sample(ROOT, 20, first))(60)), keys[60:80])


@pytest.mark.parametrize("draw", [rng.normal, lambda keys, shape: rng.uniform(keys, shape, -1.0, 1.0)])
def test_row_i_depends_on_key_i_alone(draw):
    keys = rng.per_sample(ROOT, 9)
    rows = draw(keys, (4, 3))
    assert rows.shape == (9, 4, 3)
    assert rows.dtype == np.float32
    order = np.array([8, 2, 5])
    np.testing.assert_array_equal(draw(keys[order], (4, 3)), rows[order])


@pytest.mark.parametrize("event_shape", [(), (2,), (8, 8, 1), (5, 7, 3)])
def test_the_numbers_are_those_of_jax(event_shape):
    keys = rng.per_sample(ROOT, 6)
    np.testing.assert_array_equal(
        rng.normal(keys, event_shape), jax.jit(jax.vmap(lambda key: jax.random.normal(key, event_shape)))(keys)
    )
    np.testing.assert_array_equal(
        rng.uniform(keys, event_shape, -2.0, 3.0),
        jax.jit(jax.vmap(lambda key: jax.random.uniform(key, event_shape, minval=-2.0, maxval=3.0)))(keys),
    )


def test_keys_of_another_kind_are_computed_by_jax():
    keys = rng.per_sample(jax.random.key(3, impl="rbg"), 1000)
    folded = rng.fold_in(keys, 12)
    np.testing.assert_array_equal(bits(folded), bits(jax.vmap(lambda key: jax.random.fold_in(key, 12))(keys)))
    assert folded.dtype == keys.dtype
    assert stats.kstest(np.ravel(rng.normal(keys, (2, 2))), "norm").pvalue > 0.01


@pytest.mark.parametrize("data", [0, 1, 2**31 - 1])
def test_keys_of_a_step_are_those_of_jax_traced_or_not(data):
    keys = rng.per_sample(ROOT, 3)
    expected = bits(jax.vmap(lambda key: jax.random.fold_in(key, data))(keys))
    np.testing.assert_array_equal(bits(rng.fold_in(keys, data)), expected)
    np.testing.assert_array_equal(bits(jax.jit(rng.fold_in)(keys, data)), expected)


def test_keys_may_be_constants_of_a_program():
    keys = rng.per_sample(ROOT, 3)
    np.testing.assert_array_equal(
        jax.jit(lambda: rng.normal(rng.fold_in(keys, 1), (2,)))(), rng.normal(rng.fold_in(keys, 1), (2,))
    )


def test_draws_are_not_loops():
    """XLA cannot fuse a loop, which for small arrays costs more than the numbers themselves."""

    def has_loop(draws):
        return "while" in jax.jit(draws).lower(rng.per_sample(ROOT, 9)).as_text()

    assert not has_loop(lambda keys: rng.normal(rng.fold_in(keys, 1), (2,)))
    assert not has_loop(lambda keys: rng.uniform(rng.fold_in(keys, 1), (2,), -1.0, 1.0))


def test_draws_over_samples_have_their_distributions():
    keys = rng.per_sample(ROOT, 4000)
    assert stats.kstest(np.ravel(rng.normal(keys, (2,))), "norm").pvalue > 0.01
    # scipy's uniform takes (low, high - low).
    assert stats.kstest(np.ravel(rng.uniform(keys, (2,), -2.0, 3.0)), "uniform", (-2, 5)).pvalue > 0.01


def test_streams_are_uncorrelated():
    def draws(name, step):
        return np.ravel(rng.normal(rng.per_sample(rng.stream(ROOT, name, step), 10_000), ()))

    rows = np.stack([draws("prior", 0), draws("flow", 0), draws("prior", 1)])
    correlations = np.corrcoef(rows)[np.triu_indices(3, 1)]
    assert (np.abs(correlations) < 4 / np.sqrt(10_000)).all()  # Four standard errors.
