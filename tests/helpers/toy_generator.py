"""A one-step generator as a method: x = mean + exp(log_scale) z, fitted to the data's moments, with a pool of samples.

It has neither a ratio nor a flow, and a state of another form than FDRL's: what the planned methods will need of the
interface in `fdrl_jax/methods/base.py`.
"""

import dataclasses
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from fdrl_jax.methods.base import Costs
from fdrl_jax.methods.prior_draws import draw, draw_prior
from fdrl_jax.utils import rng, sharding
from fdrl_jax.utils.compilation import Program


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ToyState:
    step: Any
    generator: Any
    pool: Any


def _generate(generator, z):
    return generator["mean"] + jnp.exp(generator["log_scale"]) * z


@dataclasses.dataclass(frozen=True)
class ToyGenerator:
    event_shape: tuple[int, ...] = (2,)
    rate: float = 0.5
    parameterisation = None
    flow_length = 0
    reductions = MappingProxyType({"loss": "mean", "grad_norm": "max", "pool_spread": "mean"})

    def init(self, root):
        generator = {"mean": jnp.zeros(2), "log_scale": jax.random.normal(rng.stream(root, "init"), (2,))}
        return ToyState(jnp.zeros((), jnp.int32), generator, jnp.zeros((4, 2)))

    def check_batch(self, what, count, mesh):
        sharding.check_divides(what, count, mesh)

    def make_train_step(self, mesh=None):
        mesh = mesh or sharding.mesh()

        def loss(generator, z, batch):
            x = _generate(generator, z)
            return ((x.mean(0) - batch.mean(0)) ** 2 + (x.std(0) - batch.std(0)) ** 2).sum()

        def step(state, prior, root, batch):
            z = draw(prior, rng.per_sample(rng.stream(root, "prior", state.step), len(batch)), mesh)
            value, gradient = jax.value_and_grad(loss)(state.generator, z, batch)
            generator = jax.tree.map(lambda p, g: p - self.rate * g, state.generator, gradient)
            pool = _generate(generator, z)[:4]
            norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradient)))
            metrics = {"loss": value, "grad_norm": norm, "pool_spread": pool.std()}
            return ToyState(state.step + 1, generator, pool), metrics

        return Program(step, donate_argnums=0)

    def scale_learning_rate(self, factor):
        return dataclasses.replace(self, rate=self.rate * factor)

    def learning_rate(self, step):
        return self.rate

    def progress(self, metrics):
        return f"loss {metrics['loss']:.3g}"

    def trained_parameters(self, state):
        return state.generator

    def costs(self, prior, batch_size, mesh):
        return Costs(4, 0, 0.0, 40.0 * batch_size, 4.0, 68, 0)

    def measure_rate(self, batch_size, rounds=3):
        return 1e9

    def weights(self, state, ema=True):
        return state.generator

    def ratios(self, weights, x):
        raise AssertionError("a method without a ratio is never asked for one")

    def start(self, weights, prior, root, first, count):
        return _generate(weights, draw_prior(prior, root, first, count))

    def advance(self, *_, **__):
        raise AssertionError("a flow of no steps is never advanced")

    def record(self, weights, root, x, first, num_steps, every, transform=None, arguments=None):
        return x[None]
