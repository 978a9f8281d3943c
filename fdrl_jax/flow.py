"""The particle flow (Eq. 9 of arXiv 2303.03714), the only one in the package.

    x_{k+1} = x_k - eta grad_x f'(r(x_k)) + nu xi_k,    xi_k ~ N(0, I)

(the paper's Eq. 9 drops the x_k on the right). It is Euler-Maruyama for the entropy-regularised
Wasserstein gradient flow, with step size `eta` and `nu = sqrt(2 gamma eta)`. Noise is added in every step,
the last included; nothing is clamped.

The functions here know a ratio function `x -> output`, where the output is r or log r, and f' as a function of that
output (`divergences.Divergence.output_derivative`). They know no model, and compile nothing:
callers jit. The noise of sample i at step k is a function of (keys[i], k), so a sample is the same in
any batch, and a flow may be continued from any state and step (`first_step`).
"""

import math
import numbers
from typing import TypedDict, Unpack

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from fdrl_jax import rng
from fdrl_jax.types import InputError, Keys, OutputFn, Particles, RatioFn


class Dynamics(TypedDict):
    """What makes a flow besides its particles; passed by name to `step`, `simulate` and `trajectory`.

    Keys:
      ratio_fn: particles [batch, *event] -> r or log r, [batch].
      f_prime: f' as a function of that output, elementwise.
      step_size: eta.
      noise: nu; the Python number 0 draws no random numbers.
    """

    ratio_fn: RatioFn
    f_prime: OutputFn
    step_size: float
    noise: float


def drift(x: Particles, ratio_fn: RatioFn, f_prime: OutputFn) -> Particles:
    """-grad_x f'(r(x)), for each particle by itself: float [batch, *event], as x."""
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
    """x_{k+1} from x_k: one step of Eq. 9. `k` only selects the noise; for the rest see `Dynamics`."""
    x_next = _flat(x) + step_size * _flat(drift(x, ratio_fn, f_prime))
    if not (isinstance(noise, (int, float)) and noise == 0):
        x_next += noise * rng.normal(rng.fold_in(keys, k), x_next.shape[1:]).astype(x.dtype)
    return x_next.reshape(x.shape)


def _flat(x: Particles) -> Float[Array, "batch d"]:
    """Particles as rows [batch, d]: so a CPU draws the noise that is added by vector instructions (see `rng`)."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


def simulate(
    keys: Keys,
    x: Particles,
    *,
    num_steps: int,
    first_step: int | Int[Array, ""] = 0,
    **dynamics: Unpack[Dynamics],
) -> Particles:
    """x after `num_steps` steps from x, by `lax.scan`.

    Args:
      keys: one key a sample, [batch].
      x: the state at step `first_step`, [batch, *event].
      num_steps: how many steps; K in training, K + kappa when sampling. 0 returns x.
      first_step: the index of the first step, so that a flow cut in pieces draws the same noise.
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
    """Like `simulate`, keeping the state before the first step, after every `every`-th and after the last.

    Returns:
      The step counts 0, every, 2 every, ..., num_steps, and the states at them. The last state equals
      that of `simulate`.

    Raises:
      InputError: `every` < 1, or `num_steps` as for `simulate`.
    """
    _check_num_steps(num_steps)
    if every < 1:
        raise InputError(f"every = {every}: a trajectory keeps every n-th state, with n >= 1")
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
