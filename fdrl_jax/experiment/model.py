"""A trained model, which `fdrl_jax.load` and `fdrl_jax.train` return, and sampling takes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from fdrl_jax.experiment import builders
from fdrl_jax.methods import base
from fdrl_jax.methods.base import State
from fdrl_jax.priors import FixedImages, HostGaussian, Prior
from fdrl_jax.types import InputError
from fdrl_jax.utils.validation import require_examples


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained method with its prior.

    Attributes:
      experiment: the experiment that the run's config describes, with its method.
      params: the method's weights for sampling, averaged (EMA) or online.
      prior: q', the distribution from which the flow starts.
      step: number of training steps after which the weights were stored.
    """

    experiment: builders.Experiment
    params: PyTree = dataclasses.field(repr=False)
    prior: Prior | HostGaussian | FixedImages = dataclasses.field(repr=False)
    step: int

    def ratio_fn(self, x: Array | np.ndarray) -> Float[Array, " batch"]:
        """Return the density ratio r(x) = q~(x) / p(x), float32 [batch].

        Args:
          x: float [batch, *event], images in [-1, 1]; nested lists are accepted.

        Raises:
          InputError: x has another shape or dtype, or values that are not finite; or the method trains no ratio.
        """
        method = self.experiment.method
        if method.parameterisation is None:
            raise InputError("the model has no ratio: its method trains none; ratio_fn is for FDRL, VGrow and EPT")
        x = require_examples("x", x, self.experiment.event_shape)
        return method.ratios(self.params, jnp.asarray(x))


def model_from_state(
    experiment: builders.Experiment, state: State, prior: Prior | HostGaussian, ema: bool = True
) -> Model:
    """Return the model of a train state, with averaged (EMA) or online weights."""
    return Model(experiment, experiment.method.weights(state, ema), prior, int(state.step))


def initial_state(experiment: builders.Experiment) -> State:
    """Return the train state before the first step, a function of the config's seed."""
    return experiment.method.init(jax.random.key(experiment.config["seed"]))


def abstract_state(experiment: builders.Experiment) -> State:
    """Return the shapes and dtypes of the train state."""
    return base.abstract_state(experiment.method)
