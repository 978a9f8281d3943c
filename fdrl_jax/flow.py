"""The particle flow (Eq. 9 of arXiv 2303.03714), the only one in the package.

    x_{k+1} = x_k - eta grad_x f'(r(x_k)) + nu xi_k,    xi_k ~ N(0, I)

(Eq. 9 of the paper lacks the x_k on the right.) This is the Euler-Maruyama scheme for the entropy-regularised
Wasserstein gradient flow, with step size `eta` and `nu = sqrt(2 gamma eta)`. Noise is added in every step, including
the last; particles are not clipped.

The functions take a ratio function x -> output, where the output is r or log r, and f' as a function of that output
(`divergences.Divergence.output_derivative`). They do not depend on a model, and callers compile them. The noise of
sample i at step k is a function of (keys[i], k). A sample is therefore the same in every batch, and a flow can be
continued from any state and step (`first_step`).
"""

import math
import numbers
from typing import TypedDict, Unpack

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from fdrl_jax.types import InputError, Keys, OutputFn, Particles, RatioFn
from fdrl_jax.utils import rng


class Dynamics(TypedDict):
    """The parameters of a flow, passed by name to `step`, `simulate` and `trajectory`.

    Keys:
      ratio_fn: function from particles [batch, *event] to r or log r, [batch].
      f_prime: f' as a function of that output, elementwise.
      step_size: step size eta.
      noise: scale nu of the noise; with the Python number 0, no random numbers are drawn.
    """

    ratio_fn: RatioFn
    f_prime: OutputFn
    step_size: float
    noise: float


def drift(x: Particles, ratio_fn: RatioFn, f_prime: OutputFn) -> Particles:
    """Return the drift -grad_x f'(r(x)) of each particle: float [batch, *event], like x."""
    return -jax.grad(lambda x: f_prime(ratio_fn(x)).sum())(x)


def step(
    keys: Keys,
    x: Particles,
    k: int | Int[Array, ""],
    *,
    ratio_fn: RatioFn,
    f_prime: OutputFn,
    step_size: float,
    noise: float,
) -> Particles:
    """Return x_{k+1}, [batch, *event], from x_k: one step of Eq. 9.

    Args:
      keys: one key per sample, [batch].
      x: state x_k, [batch, *event].
      k: index of the step, which only selects the noise.
      ratio_fn, f_prime, step_size, noise: see `Dynamics`.
    """
    x_next = _flat(x) + step_size * _flat(drift(x, ratio_fn, f_prime))
    if not (isinstance(noise, (int, float)) and noise == 0):
        x_next += noise * rng.normal(rng.fold_in(keys, k), x_next.shape[1:]).astype(x.dtype)
    return x_next.reshape(x.shape)


def _flat(x: Particles) -> Float[Array, "batch d"]:
    """Flatten particles to rows [batch, d], for which a CPU draws the noise by vector instructions (see `rng`)."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


def simulate(
    keys: Keys,
    x: Particles,
    *,
    num_steps: int,
    first_step: int | Int[Array, ""] = 0,
    **dynamics: Unpack[Dynamics],
) -> Particles:
    """Return the state after `num_steps` steps from x, [batch, *event], computed by `lax.scan`.

    Args:
      keys: one key per sample, [batch].
      x: state at step `first_step`, [batch, *event].
      num_steps: number of steps; K in training, K + kappa when sampling. With 0 the result is x.
      first_step: index of the first step, so that a flow that is simulated in several parts draws the same noise.
      **dynamics: see `Dynamics`.

    Raises:
      InputError: `num_steps` is not an integer of at least 0.
    """
    _check_num_steps(num_steps)

    def body(flat: Float[Array, "batch d"], k: Int[Array, ""]) -> tuple[Float[Array, "batch d"], None]:
        return _flat(step(keys, flat.reshape(x.shape), k, **dynamics)), None

    return lax.scan(body, _flat(x), first_step + jnp.arange(num_steps))[0].reshape(x.shape)


def _check_num_steps(num_steps: object) -> None:
    if not isinstance(num_steps, numbers.Integral) or num_steps < 0:
        raise InputError(f"num_steps = {num_steps!r} must be an integer of at least 0")


def trajectory(
    keys: Keys,
    x: Particles,
    *,
    num_steps: int,
    every: int,
    first_step: int | Int[Array, ""] = 0,
    **dynamics: Unpack[Dynamics],
) -> tuple[Int[Array, " time"], Float[Array, "time batch *event"]]:
    """Simulate like `simulate`, and keep the state before the first step, after every `every`-th, and after the last.

    Args:
      keys, x, num_steps, first_step, **dynamics: arguments of `simulate`.
      every: number of steps between the states that are kept, at least 1.

    Returns:
      The step counts 0, every, 2 every, ..., num_steps, int [time], and the states after so many steps, [time, batch,
      *event]. The last state equals the result of `simulate`.

    Raises:
      InputError: `every` is less than 1, or `num_steps` is not an integer of at least 0.
    """
    _check_num_steps(num_steps)
    if every < 1:
        raise InputError(f"every = {every} must be at least 1: a trajectory keeps every n-th state")
    whole, rest = divmod(num_steps, every)

    def body(x: Particles, i: Int[Array, ""]) -> tuple[Particles, Particles]:
        x = simulate(keys, x, num_steps=every, first_step=first_step + i * every, **dynamics)
        return x, x

    last, kept = lax.scan(body, x, jnp.arange(whole))
    states = [x[None], kept]
    steps = [every * jnp.arange(whole + 1)]
    if rest:
        states.append(simulate(keys, last, num_steps=rest, first_step=first_step + whole * every, **dynamics)[None])
        steps.append(jnp.array([num_steps]))
    return jnp.concatenate(steps), jnp.concatenate(states)
