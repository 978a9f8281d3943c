"""The train state of FDRL, its moving average, and Adam with its learning rate schedule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from fdrl_jax.models import Spectral
from fdrl_jax.types import Params


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """The state between two training steps: a pytree, which a checkpoint keeps whole.

    Attributes:
      step: number of updates so far, int32 scalar.
      params: the online parameters, which drive the flow in training.
      ema_params: their exponential moving average, which drives the flow when sampling.
      opt_state: state of the optimiser.
      spectral: singular vectors (u, v) of the kernels, for `params` and `ema_params` alike; {} without spectral norm.
    """

    # PyTree instead of Params: an abstract state has ShapeDtypeStructs here, and a copy on the host has numpy arrays.
    step: Any
    params: PyTree
    ema_params: PyTree
    opt_state: PyTree
    spectral: PyTree


def create_state(
    params: Params, optimizer: optax.GradientTransformation, spectral: Spectral | None = None
) -> TrainState:
    """The state before the first update. The EMA starts at the parameters, without debiasing.

    Args:
      params: the trained parameters, not divided by their spectral norm.
      optimizer: the optimiser that will train them.
      spectral: singular vectors, from `Estimator.init_spectral` or a converted network; None or {} without them.
    """
    # Copied because the training step donates the state, and one buffer cannot be donated twice.
    ema_params = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.zeros((), jnp.int32), params, ema_params, optimizer.init(params), spectral or {})


def update_ema(ema_params: Params, params: Params, decay: float) -> Params:
    """The updated average, decay * ema + (1 - decay) * params."""
    return optax.incremental_update(params, ema_params, 1 - decay)


def learning_rate_schedule(learning_rate: float, decay_steps: Sequence[int], decay_factor: float) -> optax.Schedule:
    """A constant rate, multiplied by `decay_factor` from each update of `decay_steps` on (updates count from 0).

    The same as PyTorch's MultiStepLR stepped once an update.
    """
    return optax.piecewise_constant_schedule(learning_rate, dict.fromkeys(decay_steps, decay_factor))


def adam(schedule: optax.Schedule, b1: float, b2: float) -> optax.GradientTransformation:
    """Adam (Kingma and Ba, 2015) with eps 1e-8, as PyTorch's."""
    return optax.adam(schedule, b1, b2, eps=1e-8)


def arrays(tree: Any) -> dict[str, str]:
    """The dtype and shape of each array in a tree, by its name; ShapeDtypeStructs count as arrays."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = (jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves)
    return {name: f"{np.dtype(x.dtype)} {x.shape}" for name, (_, x) in zip(names, leaves, strict=True)}
