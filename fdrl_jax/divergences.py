"""f-divergences, as the flow needs them (Table 2 of arXiv 2303.03714).

A divergence D_f(q || p) = E_p[f(q / p)] drives the flow x <- x - eta grad f'(r(x)). Each one is here
in three forms: `f(r)`, `f_prime(r)`, and f' as a function of a network's output o, which is r or
log r. In the last, additive constants are dropped (the flow takes a gradient of it), and it is
finite, with a finite gradient, for every |o| <= 1e4 in float32 and bfloat16.

One identity covers them all: where o = log r, d f'/do = r f''(r), the factor c(r) by which the flow's
velocity -eta c(r) grad log r differs from one divergence to another:
KL 1, JS 1/(1+r), logD r/(1+r), Jeffrey 1 + 1/r, Pearson chi2 2r.
"""

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, Float

from fdrl_jax.types import InputError, OutputFn, Parameterisation

Reals = Float[Array, "..."]


def bounded_exp(x: Reals) -> Reals:
    """exp(x), continued by its tangent beyond 3/4 of the largest exponent of x's dtype.

    In float32 and bfloat16 that is x = 66.5, a ratio of 1e28: below, it is exp exactly; above, value and
    gradient stay finite (exp(1e4) would be inf, and inf times a zero gradient is NaN).
    """
    limit = 0.75 * math.log(float(jnp.finfo(x.dtype).max))
    inside = jnp.minimum(x, limit)
    return jnp.exp(inside) * (1 + (x - inside))


@dataclass(frozen=True)
class Divergence:
    """One f-divergence. `f` and `f_prime` take density ratios r >= 0, elementwise.

    Attributes:
      name: as configs spell it.
      f: f(r), with f(1) = 0, convex.
      f_prime: f'(r).
      of_output: parameterisation -> f' as a function of the output o, constants dropped.
    """

    name: str
    f: OutputFn
    f_prime: OutputFn
    of_output: dict[Parameterisation, OutputFn] = field(repr=False)

    def output_derivative(self, parameterisation: Parameterisation) -> OutputFn:
        """f' as a function of a network's output, which is r or log r.

        Raises:
          InputError: an unconstrained network for r cannot drive this divergence.
        """
        try:
            return self.of_output[parameterisation]
        except KeyError:
            raise InputError(
                f"divergence {self.name!r} cannot be driven by a network that outputs the ratio r: its f'(r) takes "
                "log r, and an unconstrained output can be negative; use divergence 'chi2', or a loss whose "
                "network outputs log r ('lr' or 'kliep')"
            ) from None


def _js(r: Reals) -> Reals:
    # As r log(2r/(r+1)) - log((r+1)/2): the textbook form subtracts two numbers of size r log r.
    return xlogy(r, 2 * r / (r + 1)) - jnp.log1p(r) + math.log(2)


CHI2 = Divergence(
    "chi2",
    f=lambda r: (r - 1) ** 2,
    f_prime=lambda r: 2 * (r - 1),
    of_output={"ratio": lambda o: 2 * o, "log_ratio": lambda o: 2 * bounded_exp(o)},
)
KL = Divergence(
    "kl",
    f=lambda r: xlogy(r, r),
    f_prime=lambda r: jnp.log(r) + 1,
    of_output={"log_ratio": lambda o: o},
)
JS = Divergence(
    "js",
    f=_js,
    f_prime=lambda r: jnp.log(2 * r / (r + 1)),
    of_output={"log_ratio": jax.nn.log_sigmoid},
)
LOGD = Divergence(
    "logd",
    f=lambda r: (r + 1) * jnp.log1p(r) - 2 * math.log(2),
    f_prime=lambda r: jnp.log1p(r) + 1,
    of_output={"log_ratio": lambda o: -jax.nn.log_sigmoid(-o)},
)
JEFFREY = Divergence(
    "jeffrey",
    f=lambda r: (r - 1) * jnp.log(r),
    f_prime=lambda r: jnp.log(r) + 1 - 1 / r,
    of_output={"log_ratio": lambda o: o - bounded_exp(-o)},
)

DIVERGENCES: dict[str, Divergence] = {d.name: d for d in (CHI2, KL, JS, LOGD, JEFFREY)}
