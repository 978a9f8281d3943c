"""The compiled training step of FDRL: the body of Algorithm 1's loop.

Every random number comes from a root key through `utils.rng`, by step and sample index.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypedDict

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key

from fdrl_jax import flow
from fdrl_jax.losses import Loss
from fdrl_jax.methods.base import Batch
from fdrl_jax.methods.prior_draws import dequantized, draw
from fdrl_jax.methods.ratio_flow import RatioFlow, ratio
from fdrl_jax.methods.train_state import TrainState, update_ema
from fdrl_jax.models import Spectral
from fdrl_jax.priors import Prior
from fdrl_jax.types import InputError, Keys, Output, Params, Particles
from fdrl_jax.utils import rng, sharding
from fdrl_jax.utils.compilation import Program

# The mean loss, and the mean of r on data and on flowed samples.
Means: TypeAlias = tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]


@dataclass(frozen=True)
class Recipe(RatioFlow):
    """The settings with which one FDRL model is trained and sampled; static in every compiled call.

    Attributes:
      loss: Bregman loss of the network's outputs.
      guided: flow the prior's draws in training (FDRL). False trains on the draws themselves: the stale
        estimator of section 3.1.
      dequantize_sigma: standard deviation of the Gaussian noise added to data batches, in units of
        the data (pixels in [-1, 1]).
      ema_decay: decay of the parameters' exponential moving average.
      microbatch: number of examples that a device works on at a time in training, to save memory; 0 takes all.
    """

    loss: Loss
    guided: bool
    dequantize_sigma: float
    ema_decay: float
    microbatch: int = 0


class Metrics(TypedDict):
    """Scalars of one training step, float32. The ratios are means of r over the batch.

    `max_flow` is the largest |x| of a flowed sample, or NaN if a sample has one: a flow may diverge first.
    """

    loss: Float[Array, ""]
    ratio_data: Float[Array, ""]
    ratio_flow: Float[Array, ""]
    grad_norm: Float[Array, ""]
    max_flow: Float[Array, ""]


def check_batch(what: str, recipe: Recipe, count: int, mesh: Mesh) -> None:
    """Refuse a training batch of `count` examples, the config's field `what`, that `mesh` cannot train on.

    Raises:
      InputError: the devices cannot share it equally, or `recipe.microbatch` does not divide a device's share.
    """
    sharding.check_divides(what, count, mesh)
    each = count // mesh.size
    if recipe.microbatch and each > recipe.microbatch and each % recipe.microbatch:
        reason = f"does not divide the {each} examples of a device ({what} = {count}): use a divisor"
        raise InputError(f"config.train.microbatch = {recipe.microbatch} {reason}")


def make_train_step(recipe: Recipe, optimizer: optax.GradientTransformation, mesh: Mesh | None = None) -> Program:
    """Compile Algorithm 1's loop body: `train_step(state, prior, root, batch) -> (state, metrics)`.

    The state is donated. The flow runs with the online parameters and is not differentiated through. Where there is
    spectral norm, a step runs one power iteration first, and the flow and the loss share its vectors.

    Examples, prior draws and noise are split by sample index over the devices of `mesh`, by default all of all hosts.
    They communicate once, to sum the gradients (and to draw from a prior whose factor is sharded over them).

    Raises:
      InputError: when called, with a batch that the devices cannot share equally, or where `recipe.microbatch` does not
        divide a device's share.
    """
    estimator, mesh = recipe.estimator, mesh or sharding.mesh()

    def loss_fn(
        params: Params, spectral: Spectral, x_p: Particles, x_q: Particles
    ) -> tuple[Float[Array, ""], tuple[Output, Output]]:
        params = estimator.effective(params, spectral)
        # Two calls, not one on the concatenation: the same arithmetic as the authors', example by example.
        o_p, o_q = estimator.apply(params, x_p), estimator.apply(params, x_q)
        data_term, flow_term = recipe.loss(o_p, o_q)
        return data_term.mean() + flow_term.mean(), (o_p, o_q)

    def gradient(
        params: Params, spectral: Spectral, flow_params: Params, keys: dict[str, Keys], batch: Batch, x_q: Particles
    ) -> tuple[tuple[Params, Means], Float[Array, ""]]:
        """The gradient of the mean loss over these samples with the means that are logged, and the largest |x_q|."""
        x_p = dequantized(keys["dequantize"], batch, recipe.dequantize_sigma)
        if recipe.guided:
            x_q = flow.simulate(keys["flow"], x_q, num_steps=recipe.num_steps, **recipe.dynamics(flow_params))
        (loss, (o_p, o_q)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, spectral, x_p, x_q)
        means = (loss, *(ratio(o, estimator.parameterisation).mean() for o in (o_p, o_q)))
        return (grads, means), jnp.abs(x_q).max()

    def one_device(params: Params, spectral: Spectral, flow_params: Params, *samples: Any) -> Any:
        fixed = sharding.mark_varying((params, spectral, flow_params), mesh)
        return sharding.mean_and_max(
            *sharding.accumulate_microbatches(partial(gradient, *fixed), samples, recipe.microbatch, mesh), mesh
        )

    in_specs = (*[sharding.REPLICATED] * 3, *[sharding.BY_SAMPLE] * 3)
    all_devices = sharding.per_device(one_device, mesh, in_specs, sharding.REPLICATED)

    def train_step(state: TrainState, prior: Prior, root: Key[Array, ""], batch: Batch) -> tuple[TrainState, Metrics]:
        check_batch("batch_size", recipe, len(batch), mesh)
        keys = {
            name: rng.per_sample(rng.stream(root, name, state.step), len(batch))
            for name in ("dequantize", "prior", "flow")
        }
        x_q = draw(prior, keys.pop("prior"), mesh)
        spectral = estimator.advance_spectral(state.params, state.spectral)
        # Normalised here, once, rather than in every step of the flow.
        flow_params = estimator.effective(state.params, spectral)
        (grads, means), max_flow = all_devices(state.params, spectral, flow_params, keys, batch, x_q)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        named = dict(zip(("loss", "ratio_data", "ratio_flow"), means, strict=True))
        metrics = Metrics(**named, grad_norm=optax.tree.norm(grads), max_flow=max_flow)  # type: ignore[typeddict-item]
        ema_params = update_ema(state.ema_params, params, recipe.ema_decay)
        return TrainState(state.step + 1, params, ema_params, opt_state, spectral), metrics

    return Program(train_step, donate_argnums=0)


def compiled_train_step(
    recipe: Recipe,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    prior: Prior,
    root: jax.ShapeDtypeStruct,
    batch: jax.ShapeDtypeStruct,
    mesh: Mesh | None = None,
) -> jax.stages.Compiled:
    """The training step, compiled for such arguments and not run: only their shapes and dtypes count."""
    train_step = make_train_step(recipe, optimizer, mesh)
    # Not the prior itself: `lower` rebuilds its arguments with placeholders, which a prior's typed fields may refuse.
    leaves, tree = jax.tree.flatten(prior)

    def flat(state: TrainState, leaves: list[Array], root: Key[Array, ""], batch: Batch) -> tuple[TrainState, Metrics]:
        return train_step(state, jax.tree.unflatten(tree, leaves), root, batch)

    return Program(flat, donate_argnums=0).lower(state, leaves, root, batch).compile()
