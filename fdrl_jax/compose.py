"""Composition of ratio functions: products, quotients, class conditions, masks and latent spaces.

A ratio function maps particles to r or log r (`types.RatioFn`). The functions here combine ratio functions into a new
one, which the flow takes like any other. They do not depend on the networks that the ratio functions evaluate. If it
makes a difference whether the outputs are r or log r, an argument says which (`types.Parameterisation`).

A network for r is unconstrained, so its output may be negative, although a density ratio never is. A negative factor
counts as zero, but its own gradient is kept, so that the flow still moves the particle as it would without the other
factors.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from fdrl_jax.divergences import bounded_exp
from fdrl_jax.types import Output, Parameterisation, Particles, RatioFn

# Particles [batch, *event] -> log p(class | x), [batch, classes]: `jax.nn.log_softmax` of a classifier's logits.
LogProbFn = Callable[[Particles], Float[Array, "batch classes"]]


def precompose(ratio_fn: RatioFn, decoder: Callable[[Particles], Particles]) -> RatioFn:
    """Return the ratio function of a latent space: z -> ratio_fn(decoder(z)).

    Args:
      ratio_fn: ratio function of the decoder's outputs.
      decoder: differentiable function from latent codes [batch, *latent] to particles [batch, *event], which decodes
        each code independently.

    >>> latent = precompose(lambda x: x.sum(axis=1), lambda z: 3 * z)
    >>> latent(jnp.array([[1.0, 2.0]])).tolist()
    [9.0]
    """
    return lambda z: ratio_fn(decoder(z))


# The former name, for programs that use it.
through = precompose


def product(*ratio_fns: RatioFn, parameterisation: Parameterisation) -> RatioFn:
    """Return the product of ratios, such as those of two classifiers.

    If the outputs are r, the value is prod_i max(r_i, 0), and the gradient is sum_i grad r_i prod_{j != i} max(r_j, 0).
    If all factors are positive, this is the gradient of the product.

    Args:
      *ratio_fns: ratio functions of the same parameterisation.
      parameterisation: parameterisation of the ratio functions and of the result.

    >>> r = product(lambda x: x[:, 0], lambda x: x[:, 1], parameterisation="ratio")
    >>> r(jnp.array([[2.0, 3.0], [-1.0, 5.0]])).tolist()
    [6.0, 0.0]
    """
    if parameterisation == "log_ratio":
        return lambda x: sum((f(x) for f in ratio_fns[1:]), start=ratio_fns[0](x))

    def ratio_fn(x: Particles) -> Output:
        outputs = [f(x) for f in ratio_fns]
        factors = [jax.lax.stop_gradient(jnp.maximum(o, 0)) for o in outputs]
        total = jnp.stack(factors).prod(axis=0)
        for i, output in enumerate(outputs):
            others = jnp.stack([jnp.ones_like(output), *factors[:i], *factors[i + 1 :]]).prod(axis=0)
            # The term is zero, but has the i-th part of the gradient.
            total += others * (output - jax.lax.stop_gradient(output))
        return total

    return ratio_fn


def quotient(
    ratio_fn: RatioFn, divisor: RatioFn, *, parameterisation: Parameterisation, floor: float = 1e-3
) -> RatioFn:
    """Return one ratio divided by another.

    Args:
      ratio_fn: the dividend.
      divisor: the divisor, of the same parameterisation.
      parameterisation: parameterisation of both, and of the result.
      floor: smallest value of the divisor if the outputs are r: smaller ones are replaced by it, and have no gradient.
        If the outputs are log r, it is not used.

    >>> r = quotient(lambda x: x[:, 0], lambda x: x[:, 1], parameterisation="log_ratio")
    >>> r(jnp.array([[2.0, 3.0]])).tolist()
    [-1.0]
    """
    if parameterisation == "log_ratio":
        return lambda x: ratio_fn(x) - divisor(x)
    return product(ratio_fn, lambda x: 1 / jnp.maximum(divisor(x), floor), parameterisation=parameterisation)


def classifier_ratio(
    log_prob_fn: LogProbFn,
    label: int | Int[Array | np.ndarray, "*batch"],
    scale: float | Float[Array, ""] = 0.1,
    *,
    parameterisation: Parameterisation = "log_ratio",
    at_step: bool = True,
) -> RatioFn:
    """Return (N p(label | x))^-scale, which for scale 1 is the density of all data over that of one class (Eq. 12).

    N is the number of classes, which are taken to be equally frequent. The ratio is 1 if the classifier gives all
    classes the same probability. If p underflows, its logarithm still has a gradient, and the power stays finite,
    because it is computed by `divergences.bounded_exp`.

    Args:
      log_prob_fn: log p(. | x), [batch, N].
      label: class of all particles, or of each, [batch].
      scale: exponent phi.
      parameterisation: parameterisation of the result.
      at_step: see `class_conditional`.

    >>> uniform = lambda x: jnp.full((len(x), 10), -jnp.log(10.0))
    >>> classifier_ratio(uniform, 3, parameterisation="ratio")(jnp.zeros((1, 2))).tolist()
    [1.0]
    """

    def log_ratio(x: Particles) -> Output:
        log_probs = log_prob_fn(x)
        labels = jnp.broadcast_to(jnp.asarray(label), (len(x),))
        log_prob = jnp.take_along_axis(log_probs, labels[:, None], axis=1)[:, 0]
        return -scale * (log_prob + jnp.log(log_probs.shape[1]))

    if parameterisation == "log_ratio":
        return log_ratio
    if at_step:
        return lambda x: bounded_exp(log_ratio(x))

    def one_with_gradient_of_log_ratio(x: Particles) -> Output:
        output = log_ratio(x)
        return 1 + (output - jax.lax.stop_gradient(output))

    return one_with_gradient_of_log_ratio


def class_conditional(
    ratio_fn: RatioFn,
    log_prob_fn: LogProbFn,
    label: int | Int[Array | np.ndarray, "*batch"],
    scale: float | Float[Array, ""] = 0.1,
    *,
    parameterisation: Parameterisation = "log_ratio",
    at_step: bool = True,
) -> RatioFn:
    """Return r(x | y) = r(x) (N p(y | x))^-scale, the ratio of samples to the data of class y (Eq. 12, 29-31).

    Eq. 31 has scale 1. The paper's experiments use log r(x) - scale log p(y | x) with scale 0.1 in LR-KL. This function
    subtracts scale log N as well, so that r(x | y) = r(x) if the classifier gives all classes the same probability. The
    constant does not change the flow of LR-KL, but the other flows need it.

    Args:
      ratio_fn: r or log r of the data of all classes.
      log_prob_fn: log p(. | x), [batch, N], computed by log_softmax.
      label: class y of all particles, or of each, [batch].
      scale: exponent phi.
      parameterisation: parameterisation of `ratio_fn` and of the result. If it is r, the factor (N p)^-scale
        multiplies the drift as well, and a particle with r <= 0 is not moved towards its class: see `product`.
      at_step: used only if the outputs are r. True keeps that factor in the drift, as the formula has it. False divides
        the drift of each particle by the factor, which does not change its direction; the value is then max(r(x), 0).

    >>> sure = lambda x: jax.nn.log_softmax(jnp.array([[0.0, 50.0]]))
    >>> r = class_conditional(lambda x: jnp.zeros(len(x)), sure, jnp.array([0]), scale=0.1)
    >>> round(r(jnp.zeros((1, 2)))[0].item(), 4)  # -0.1 (log p + log 2), with log p = -50.
    4.9307
    """
    of_class = classifier_ratio(log_prob_fn, label, scale, parameterisation=parameterisation, at_step=at_step)
    return product(ratio_fn, of_class, parameterisation=parameterisation)


def masked(
    ratio_fn: RatioFn,
    known: Float[Array | np.ndarray, "..."],
    mask: Bool[Array | np.ndarray, "..."],
) -> RatioFn:
    """Return the ratio as a function of the unknown values alone, so that the flow fills them in (inpainting).

    Inside the mask the network gets the values of `known`, even after the flow's noise has changed those of x, and the
    gradient is zero. The caller must put the known values into the result: `jnp.where(mask, known, x)`.

    Args:
      ratio_fn: ratio function of complete particles.
      known: one example, or one per particle; its values outside the mask are ignored.
      mask: True for known values; broadcast against the particles.

    >>> r = masked(lambda x: x.sum(axis=1), jnp.array([5.0, 0.0]), jnp.array([True, False]))
    >>> r(jnp.array([[-1.0, 2.0]])).tolist(), jax.grad(lambda x: r(x).sum())(jnp.array([[-1.0, 2.0]])).tolist()
    ([7.0], [[0.0, 1.0]])
    """
    return lambda x: ratio_fn(jnp.where(mask, known, x))
