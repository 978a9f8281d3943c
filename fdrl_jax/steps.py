"""The compiled calls: one training step (Algorithm 1), one piece of sampling (Algorithm 2).

Both draw every random number from a root key through `rng`, by sample index.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypedDict

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key, UInt8

from fdrl_jax import flow, rng, sharding
from fdrl_jax.divergences import bounded_exp
from fdrl_jax.losses import Loss
from fdrl_jax.models import Estimator, Spectral
from fdrl_jax.pixels import to_float
from fdrl_jax.priors import Drawn, Gaussian, Given, HostGaussian, LowRankGaussian, Prior
from fdrl_jax.programs import Program
from fdrl_jax.state import TrainState, update_ema
from fdrl_jax.types import InputError, Keys, Output, OutputFn, Parameterisation, Params, Particles, RatioFn

Batch = Float[Array, "batch *event"] | UInt8[Array, "batch *event"]

# Of the loss and of r on data and on flowed samples.
Means: TypeAlias = tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]

# What a sampling run puts in place of the network's ratio function, by `compose`: a function of it and of arrays. It is
# static, and so must be hashable and the same object (or an equal one) in every call; the arrays are not.
Change = Callable[[RatioFn, Any], RatioFn]


@dataclass(frozen=True)
class Recipe:
    """How one FDRL model is trained and sampled; static in every compiled call.

    Attributes:
      estimator: the network.
      loss: Bregman loss of its outputs.
      f_prime: f' as a function of its output.
      num_steps: K, the flow's length in training.
      step_size: eta.
      noise: nu.
      guided: flow the prior's draws in training (FDRL). False trains on the draws themselves: the stale
        estimator of section 3.1.
      dequantize_sigma: standard deviation of the Gaussian noise added to data batches, in units of
        the data (pixels in [-1, 1]).
      ema_decay: of the parameters.
      microbatch: how many of its examples a device works on at a time in training, for less memory; 0 takes all.
    """

    estimator: Estimator
    loss: Loss
    f_prime: OutputFn
    num_steps: int
    step_size: float
    noise: float
    guided: bool
    dequantize_sigma: float
    ema_decay: float
    microbatch: int = 0

    def dynamics(self, params: Params, change: Change | None = None, arguments: Any = None) -> flow.Dynamics:
        """The flow of the estimator at effective parameters `params` (`Estimator.effective`), changed by `change`."""
        ratio_fn = self.estimator.ratio_fn(params)
        if change is not None:
            ratio_fn = change(ratio_fn, arguments)
        return flow.Dynamics(ratio_fn=ratio_fn, f_prime=self.f_prime, step_size=self.step_size, noise=self.noise)


class Metrics(TypedDict):
    """Scalars of one training step, float32. The ratios are means of r over the batch.

    `max_flow` is the largest |x| of what was flowed, or NaN where a sample is: a flow may diverge before the loss does.
    """

    loss: Float[Array, ""]
    ratio_data: Float[Array, ""]
    ratio_flow: Float[Array, ""]
    grad_norm: Float[Array, ""]
    max_flow: Float[Array, ""]


def ratio(output: Output, parameterisation: Parameterisation) -> Output:
    """r from a network's output."""
    return bounded_exp(output) if parameterisation == "log_ratio" else output


@partial(Program, static_argnames="recipe")
def ratios(recipe: Recipe, params: Params, x: Particles) -> Output:
    """r of a batch, at effective parameters `params`."""
    return ratio(recipe.estimator.apply(params, x), recipe.estimator.parameterisation)


def _dequantized(keys: Keys, batch: Batch, sigma: float) -> Particles:
    x = to_float(batch)
    return x + sigma * rng.normal(keys, x.shape[1:]) if sigma else x


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
    They communicate once, to sum the gradients (and draw from a prior that lies spread over them, where it does).

    Raises:
      InputError: when called, with a batch that the devices cannot share equally, or `recipe.microbatch` a device's
        share.
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
        """Of the mean loss over these samples, with the means that are logged; and the largest |x_q|."""
        x_p = _dequantized(keys["dequantize"], batch, recipe.dequantize_sigma)
        if recipe.guided:
            x_q = flow.simulate(keys["flow"], x_q, num_steps=recipe.num_steps, **recipe.dynamics(flow_params))
        (loss, (o_p, o_q)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, spectral, x_p, x_q)
        means = (loss, *(ratio(o, estimator.parameterisation).mean() for o in (o_p, o_q)))
        return (grads, means), jnp.abs(x_q).max()

    def of_a_device(params: Params, spectral: Spectral, flow_params: Params, *samples: Any) -> Any:
        fixed = sharding.own((params, spectral, flow_params), mesh)
        return sharding.mean_and_max(
            *sharding.of_parts(partial(gradient, *fixed), samples, recipe.microbatch, mesh), mesh
        )

    in_specs = (*[sharding.SAME] * 3, *[sharding.BY_SAMPLE] * 3)
    of_all_devices = sharding.per_device(of_a_device, mesh, in_specs, sharding.SAME)

    def train_step(state: TrainState, prior: Prior, root: Key[Array, ""], batch: Batch) -> tuple[TrainState, Metrics]:
        check_batch("batch_size", recipe, len(batch), mesh)
        keys = {
            name: rng.per_sample(rng.stream(root, name, state.step), len(batch))
            for name in ("dequantize", "prior", "flow")
        }
        x_q = _draw(prior, keys.pop("prior"), mesh)
        spectral = estimator.advance_spectral(state.params, state.spectral)
        # Normalised here, once, rather than in every step of the flow.
        flow_params = estimator.effective(state.params, spectral)
        (grads, means), max_flow = of_all_devices(state.params, spectral, flow_params, keys, batch, x_q)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        named = dict(zip(("loss", "ratio_data", "ratio_flow"), means, strict=True))
        metrics = Metrics(**named, grad_norm=optax.tree.norm(grads), max_flow=max_flow)  # type: ignore[typeddict-item]
        ema_params = update_ema(state.ema_params, params, recipe.ema_decay)
        return TrainState(state.step + 1, params, ema_params, opt_state, spectral), metrics

    return Program(train_step, donate_argnums=0)


def _draw(prior: Prior, keys: Keys, mesh: Mesh) -> Particles:
    """The prior's draws, split by sample where the devices can share them equally."""
    x = prior.sample(keys)
    if isinstance(prior, (Gaussian, LowRankGaussian)) and prior.spread:
        # Each device makes its rows of all draws. Without this XLA would collect the whole factor on each.
        x = sharding.constrain(x, sharding.SAME, mesh)
    return x if len(x) % mesh.size else sharding.constrain(x, sharding.BY_SAMPLE, mesh)


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


def prior_of_step(
    prior: Prior | HostGaussian, root: Key[Array, ""], step: int, count: int, mesh: Mesh | None = None
) -> Prior:
    """What `train_step` takes as the prior: one in the host's memory is drawn from here, for that step."""
    if not isinstance(prior, HostGaussian):
        return prior
    mine = sharding.share(count, mesh)
    keys = rng.per_sample(rng.stream(root, "prior", step), mine.stop - mine.start, mine.start)
    draws: Any = prior.draw(keys)
    return Drawn(sharding.by_sample(draws, count, mesh))


def draw_prior(prior: Prior | HostGaussian | Given, root: Key[Array, ""], first: Array, count: int) -> Particles:
    """Prior draws of samples first, ..., first + count - 1 of the sampling run with key `root`."""
    if isinstance(prior, HostGaussian):
        return sharding.split(prior.draw(_prior_keys(root, first, count)))
    first_row = int(first)
    root, first = sharding.same((root, first))
    if isinstance(prior, Given):
        return _from_given(sharding.split(prior.rows(first_row, count)), root, first, prior.noise)
    return _draw_prior(prior, root, first, count)


def _prior_keys(root: Key[Array, ""], first: Array, count: int) -> Keys:
    return rng.per_sample(rng.stream(root, "prior"), count, first)


@partial(Program, static_argnames="count")
def _draw_prior(prior: Prior, root: Key[Array, ""], first: Array, count: int) -> Particles:
    return _draw(prior, _prior_keys(root, first, count), sharding.mesh())


@partial(Program, static_argnames="sigma")
def _from_given(images: Batch, root: Key[Array, ""], first: Array, sigma: float) -> Particles:
    return _dequantized(rng.per_sample(rng.stream(root, "dequantize"), len(images), first), images, sigma)


@partial(Program, static_argnames=("recipe", "num_steps", "change"), donate_argnames="x")
def advance(
    recipe: Recipe,
    params: Params,
    root: Key[Array, ""],
    x: Particles,
    first: Array,
    first_step: Array,
    num_steps: int,
    change: Change | None = None,
    arguments: Any = None,
) -> Particles:
    """`num_steps` flow steps from step `first_step`, for samples first, first + 1, ... of a sampling run."""
    keys = rng.per_sample(rng.stream(root, "flow"), len(x), first)
    dynamics = recipe.dynamics(params, change, arguments)
    return flow.simulate(keys, x, num_steps=num_steps, first_step=first_step, **dynamics)


@partial(Program, static_argnames=("recipe", "num_steps", "every", "change"))
def record(
    recipe: Recipe,
    params: Params,
    root: Key[Array, ""],
    x: Particles,
    first: Array,
    num_steps: int,
    every: int,
    change: Change | None = None,
    arguments: Any = None,
) -> Float[Array, "time batch *event"]:
    """The flow of `advance` from step 0, with the states that `flow.trajectory` keeps."""
    keys = rng.per_sample(rng.stream(root, "flow"), len(x), first)
    dynamics = recipe.dynamics(params, change, arguments)
    return flow.trajectory(keys, x, num_steps=num_steps, every=every, **dynamics)[1]
