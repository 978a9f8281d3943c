"""A model made from a train state: its weights, and its density ratio."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shrink
from toy_generator import ToyGenerator

from fdrl_jax import priors
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import Model, abstract_state, initial_state, model_from_state
from fdrl_jax.types import InputError

PRIOR = priors.Normal((2,), 1.0)


def test_the_initial_state_is_a_function_of_the_seed(experiment):
    config = shrink.tiny_points()
    config.seed = 1
    jax.tree.map(np.testing.assert_array_equal, initial_state(experiment), initial_state(experiment))
    same = jax.tree.map(np.array_equal, initial_state(experiment).params, initial_state(builders.build(config)).params)
    assert not all(jax.tree.leaves(same))


def test_the_abstract_state_has_the_shapes_and_dtypes_of_the_state(experiment):
    state, abstract = initial_state(experiment), abstract_state(experiment)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(lambda x: (x.shape, x.dtype), abstract)


@pytest.mark.parametrize("ema", [True, False])
def test_a_model_has_averaged_or_online_weights(ema, experiment):
    state = initial_state(experiment)
    state = dataclasses.replace(state, ema_params=jax.tree.map(lambda x: x + 1, state.params), step=state.step + 3)
    model = model_from_state(experiment, state, PRIOR, ema)
    assert model.step == 3
    expected = experiment.method.weights(state, ema)
    jax.tree.map(np.testing.assert_array_equal, model.params, expected)
    x = jnp.ones((4, 2))
    np.testing.assert_array_equal(model.ratio_fn(x), experiment.method.ratios(expected, x))
    other = model_from_state(experiment, state, PRIOR, not ema)
    assert not np.array_equal(model.ratio_fn(x), other.ratio_fn(x))


def test_the_ratio_has_one_value_per_example_and_refuses_other_shapes_and_values(experiment):
    model = model_from_state(experiment, initial_state(experiment), PRIOR)
    r = model.ratio_fn(np.array([[0.0, 1.0], [2.0, 3.0]]))  # float64 is accepted.
    assert (r.shape, r.dtype) == ((2,), np.float32)
    with pytest.raises(InputError, match=r"^x "):
        model.ratio_fn(np.zeros((3, 3), np.float32))
    with pytest.raises(InputError, match="x has 1 values that are not finite"):
        model.ratio_fn(np.array([[0.0, np.nan]]))


def test_a_method_without_a_ratio_is_refused(experiment):
    other = dataclasses.replace(experiment, method=ToyGenerator())
    with pytest.raises(InputError, match="the model has no ratio: its method trains none"):
        Model(other, {}, PRIOR, 0).ratio_fn(np.zeros((1, 2), np.float32))
