"""FDRL: a network of the density ratio, trained on particles that flow under it (arXiv 2303.03714)."""

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key, PyTree

from fdrl_jax.methods import ratio_flow
from fdrl_jax.methods.base import Costs, RatioTransform, Reduction, abstract_state
from fdrl_jax.methods.fdrl_train_step import Recipe, check_batch, compiled_train_step, make_train_step
from fdrl_jax.methods.prior_draws import draw_prior
from fdrl_jax.methods.train_state import TrainState, adam, create_state
from fdrl_jax.models import conv
from fdrl_jax.priors import FixedImages, HostGaussian, Prior
from fdrl_jax.types import Output, Parameterisation, Params, Particles
from fdrl_jax.utils import rng
from fdrl_jax.utils.compilation import Program

# The rate is measured on at most this many images at a time: enough to fill a device, and soon done on a CPU.
_MEASURED_BATCH = 16
# In a flow of one step, preparing the kernels for the flow would cost as much as the step.
_MEASURED_STEPS = 5


@dataclass(frozen=True)
class FDRL:
    """The method of the paper; see `methods.base.Method` for what each part is for.

    Attributes:
      event_shape: shape of one example, [H, W, C] for images and [D] for points.
      recipe: the network, its loss, and the flow in training.
      kappa: flow steps beyond K when sampling.
      schedule: learning rate by step.
      b1, b2: Adam's decay rates.
    """

    event_shape: tuple[int, ...]
    recipe: Recipe
    kappa: int
    schedule: optax.Schedule
    b1: float
    b2: float

    reductions: ClassVar[Mapping[str, Reduction]] = {
        "loss": "mean",
        "ratio_data": "mean",
        "ratio_flow": "mean",
        "grad_norm": "mean",
        "max_flow": "max",
    }

    @property
    def parameterisation(self) -> Parameterisation:
        return self.recipe.estimator.parameterisation

    @property
    def flow_length(self) -> int:
        """K + kappa, the number of flow steps of a sample."""
        return self.recipe.num_steps + self.kappa

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.schedule, self.b1, self.b2)

    # --- training: Algorithm 1 ---

    def init(self, root: Key[Array, ""]) -> TrainState:
        """The state before the first step; the EMA starts at the parameters."""
        estimator = self.recipe.estimator
        params = estimator.init(rng.stream(root, "init"))
        spectral = estimator.init_spectral(rng.stream(root, "spectral"), params)
        return create_state(params, self.optimizer, spectral)

    def check_batch(self, what: str, count: int, mesh: Mesh) -> None:
        """Refuse a batch that the devices, or `microbatch`, do not divide: see `fdrl_train_step.check_batch`."""
        check_batch(what, self.recipe, count, mesh)

    def make_train_step(self, mesh: Mesh | None = None) -> Program:
        """The compiled training step: see `fdrl_train_step.make_train_step`."""
        return make_train_step(self.recipe, self.optimizer, mesh)

    def scale_learning_rate(self, factor: float) -> "FDRL":
        """The same method with `factor` times the learning rate; Adam's state has the same structure."""
        if factor == 1:
            return self
        schedule = self.schedule
        return dataclasses.replace(self, schedule=lambda step: factor * schedule(step))

    def learning_rate(self, step: int) -> float:
        """The learning rate of update `step`, counted from 0."""
        return float(self.schedule(step))

    def progress(self, metrics: Mapping[str, float]) -> str:
        """The loss and both mean ratios, for the progress bar."""
        return (
            f"loss {metrics['loss']:.4g}, ratio on data {metrics['ratio_data']:.3g}, "
            f"on samples {metrics['ratio_flow']:.3g}"
        )

    def trained_parameters(self, state: TrainState) -> PyTree:
        """The online parameters of the network."""
        return state.params

    def costs(self, prior: Prior, batch_size: int, mesh: Mesh) -> Costs:
        """Costs of training and sampling; convolutions count as direct ones, also where a CPU has better ones."""
        recipe, state = self.recipe, abstract_state(self)
        is_image = len(self.event_shape) == 3
        batch = jax.ShapeDtypeStruct((batch_size, *self.event_shape), jnp.uint8 if is_image else jnp.float32)

        def train_step(recipe: Recipe) -> jax.stages.Compiled:
            return compiled_train_step(recipe, self.optimizer, state, prior, _abstract_key(), batch, mesh)

        # XLA counts what one device does, and the body of a loop once, however often it runs: so count one flow step.
        with conv.direct():
            flow_flops = _flops(self._compiled_flow(batch_size))
            step_flops = _flops(train_step(dataclasses.replace(recipe, num_steps=min(recipe.num_steps, 1))))
        further_steps = recipe.num_steps - 1 if recipe.guided and recipe.num_steps else 0
        memory = train_step(recipe).memory_analysis()
        return Costs(
            parameters=sum(math.prod(x.shape) for x in jax.tree.leaves(state.params)),
            flow_steps=recipe.num_steps,
            flops_per_flow_step=flow_flops,
            flops_per_step=step_flops * mesh.size + further_steps * flow_flops,
            flops_per_sample=self.flow_length * flow_flops / batch_size,
            state_bytes=sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state)),
            workspace_bytes=memory.temp_size_in_bytes if memory is not None else 0,
        )

    def measure_rate(self, batch_size: int, rounds: int = 3) -> float:
        """FLOP/s of short flows of an untrained network, best of `rounds`; FLOPs as `costs` counts them."""
        batch_size = min(batch_size, _MEASURED_BATCH)
        short_flow, root = self._compiled_flow(batch_size, _MEASURED_STEPS), jax.random.key(0)
        params = self.weights(self.init(root), ema=False)
        seconds = []
        for _ in range(rounds + 1):
            x = rng.uniform(rng.per_sample(root, batch_size), self.event_shape, -1.0, 1.0)
            start = time.perf_counter()
            jax.block_until_ready(short_flow(params, root, jax.block_until_ready(x), jnp.asarray(0), jnp.asarray(0)))
            seconds.append(time.perf_counter() - start)
        with conv.direct():
            return _MEASURED_STEPS * _flops(self._compiled_flow(batch_size)) / min(seconds[1:])

    def _compiled_flow(self, batch_size: int, num_steps: int = 1) -> jax.stages.Compiled:
        x = jax.ShapeDtypeStruct((batch_size, *self.event_shape), jnp.float32)
        first = jax.ShapeDtypeStruct((), jnp.int32)
        params = abstract_state(self).params
        return ratio_flow.advance.lower(self.recipe, params, _abstract_key(), x, first, first, num_steps).compile()

    # --- sampling: Algorithm 2 ---

    def weights(self, state: TrainState, ema: bool = True) -> Params:
        """The network's parameters with the spectral norm applied, once: (u, v) stay as training left them."""
        return self.recipe.estimator.effective(state.ema_params if ema else state.params, state.spectral)

    def ratios(self, weights: Params, x: Particles) -> Output:
        """r(x), float32 [batch]."""
        return ratio_flow.ratios(self.recipe, weights, x)

    def start(
        self, weights: Params, prior: Prior | HostGaussian | FixedImages, root: Key[Array, ""], first: Array, count: int
    ) -> Particles:
        """Draws of the prior."""
        return draw_prior(prior, root, first, count)

    def advance(
        self,
        weights: Params,
        root: Key[Array, ""],
        x: Particles,
        first: Array,
        first_step: Array,
        num_steps: int,
        transform: RatioTransform | None = None,
        arguments: Any = None,
    ) -> Particles:
        """`num_steps` steps of Eq. 9 from step `first_step` on; donates `x`."""
        return ratio_flow.advance(
            self.recipe, weights, root, x, first, first_step, num_steps, transform=transform, arguments=arguments
        )

    def record(
        self,
        weights: Params,
        root: Key[Array, ""],
        x: Particles,
        first: Array,
        num_steps: int,
        every: int,
        transform: RatioTransform | None = None,
        arguments: Any = None,
    ) -> Float[Array, "time batch *event"]:
        """The flow of `advance` from step 0, with the states that `flow.trajectory` keeps."""
        return ratio_flow.record(
            self.recipe, weights, root, x, first, num_steps, every, transform=transform, arguments=arguments
        )


def _abstract_key() -> PyTree:
    return jax.eval_shape(lambda: jax.random.key(0))


def _flops(compiled: jax.stages.Compiled) -> float:
    return float((compiled.cost_analysis() or {})["flops"])
