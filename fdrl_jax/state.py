"""What training carries from step to step, and the optimiser that advances it."""

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
    """A pytree; checkpoints hold exactly this.

    Attributes:
      step: how many updates were made, int32 scalar.
      params: the online parameters, which drive the flow in training.
      ema_params: their exponential moving average, which drives the flow when sampling.
      opt_state: of the optimiser.
      spectral: the vectors of the spectral norm of `params`, which `ema_params` shares; {} without it.
    """

    # PyTree, not Params: an abstract state has ShapeDtypeStructs here, a copy on the host numpy arrays.
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
      params: what is trained; without the division by the spectral norm, where there is one.
      optimizer: what trains it.
      spectral: from `Estimator.init_spectral`, or a converted network's; None or {} without spectral norm.
    """
    # Copied, because the training step donates the state and one buffer cannot be donated twice.
    ema_params = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.zeros((), jnp.int32), params, ema_params, optimizer.init(params), spectral or {})


def update_ema(ema_params: Params, params: Params, decay: float) -> Params:
    """decay * ema + (1 - decay) * params."""
    return optax.incremental_update(params, ema_params, 1 - decay)


def learning_rate_schedule(learning_rate: float, decay_steps: Sequence[int], decay_factor: float) -> optax.Schedule:
    """Constant, times `decay_factor` from each update of `decay_steps` on (updates counted from 0).

    The same as PyTorch's MultiStepLR stepped once an update.
    """
    return optax.piecewise_constant_schedule(learning_rate, dict.fromkeys(decay_steps, decay_factor))


def adam(schedule: optax.Schedule, b1: float, b2: float) -> optax.GradientTransformation:
    """Adam (Kingma and Ba, 2015) with eps 1e-8, as PyTorch's."""
    return optax.adam(schedule, b1, b2, eps=1e-8)


def arrays(tree: Any) -> dict[str, str]:
    """The dtype and shape of each array, or what has them, in a tree, by its name."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = (jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves)
    return {name: f"{np.dtype(x.dtype)} {x.shape}" for name, (_, x) in zip(names, leaves, strict=True)}
