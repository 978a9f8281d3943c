"""The compiled flow of particles under a trained ratio: Eq. 9, as Algorithm 2 runs it when sampling.

Every random number comes from a root key through `utils.rng`, by sample index.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from jaxtyping import Array, Float, Key

from fdrl_jax import flow
from fdrl_jax.divergences import bounded_exp
from fdrl_jax.methods.base import RatioTransform
from fdrl_jax.models import Estimator
from fdrl_jax.types import Output, OutputFn, Parameterisation, Params, Particles
from fdrl_jax.utils import rng
from fdrl_jax.utils.compilation import Program


@dataclass(frozen=True)
class RatioFlow:
    """A ratio's network with the settings of its flow; static in every compiled call.

    Attributes:
      estimator: the network.
      f_prime: f' of the divergence, as a function of the network's output.
      num_steps: K, the flow's length in training.
      step_size: eta.
      noise: nu.
    """

    estimator: Estimator
    f_prime: OutputFn
    num_steps: int
    step_size: float
    noise: float

    def dynamics(self, params: Params, transform: RatioTransform | None = None, arguments: Any = None) -> flow.Dynamics:
        """The flow at effective parameters `params` (`Estimator.effective`), of the ratio changed by `transform`."""
        ratio_fn = self.estimator.ratio_fn(params)
        if transform is not None:
            ratio_fn = transform(ratio_fn, arguments)
        return flow.Dynamics(ratio_fn=ratio_fn, f_prime=self.f_prime, step_size=self.step_size, noise=self.noise)


def ratio(output: Output, parameterisation: Parameterisation) -> Output:
    """r from a network's output."""
    return bounded_exp(output) if parameterisation == "log_ratio" else output


@partial(Program, static_argnames="settings")
def ratios(settings: RatioFlow, params: Params, x: Particles) -> Output:
    """r of a batch, at effective parameters `params`."""
    return ratio(settings.estimator.apply(params, x), settings.estimator.parameterisation)


@partial(Program, static_argnames=("settings", "num_steps", "transform"), donate_argnames="x")
def advance(
    settings: RatioFlow,
    params: Params,
    root: Key[Array, ""],
    x: Particles,
    first: Array,
    first_step: Array,
    num_steps: int,
    transform: RatioTransform | None = None,
    arguments: Any = None,
) -> Particles:
    """`num_steps` flow steps from step `first_step`, for samples first, first + 1, ... of a sampling run."""
    keys = rng.per_sample(rng.stream(root, "flow"), len(x), first)
    dynamics = settings.dynamics(params, transform, arguments)
    return flow.simulate(keys, x, num_steps=num_steps, first_step=first_step, **dynamics)


@partial(Program, static_argnames=("settings", "num_steps", "every", "transform"))
def record(
    settings: RatioFlow,
    params: Params,
    root: Key[Array, ""],
    x: Particles,
    first: Array,
    num_steps: int,
    every: int,
    transform: RatioTransform | None = None,
    arguments: Any = None,
) -> Float[Array, "time batch *event"]:
    """The flow of `advance` from step 0, with the states that `flow.trajectory` keeps."""
    keys = rng.per_sample(rng.stream(root, "flow"), len(x), first)
    dynamics = settings.dynamics(params, transform, arguments)
    return flow.trajectory(keys, x, num_steps=num_steps, every=every, **dynamics)[1]
