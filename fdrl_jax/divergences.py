"""f-divergences in the forms that the flow needs (Table 2 of arXiv 2303.03714).

A divergence D_f(q || p) = E_p[f(q / p)] drives the flow x <- x - eta grad f'(r(x)). Each divergence has three forms:
`f(r)`, `f_prime(r)`, and f' as a function of a network's output o, which is r or log r. The last form omits additive
constants, because the flow only uses its gradient. Its value and gradient are finite for all |o| <= 1e4 in float32 and
bfloat16.

For o = log r the derivative of the last form is d f'/do = r f''(r) =: c(r). The flow moves a particle by
-eta c(r) grad log r, so the divergences differ only in this factor:
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
    """Return exp(x), replaced by its tangent above 3/4 of the largest exponent that x's dtype can represent.

    In float32 and bfloat16 the tangent starts at x = 66.5, a ratio of 1e28. Below that the value is exactly exp(x).
    Above it, value and gradient stay finite; exp(1e4) would be infinite, and its product with a zero gradient NaN.
    """
    limit = 0.75 * math.log(float(jnp.finfo(x.dtype).max))
    inside = jnp.minimum(x, limit)
    return jnp.exp(inside) * (1 + (x - inside))


@dataclass(frozen=True)
class Divergence:
    """One f-divergence. `f` and `f_prime` act elementwise on density ratios r >= 0.

    Attributes:
      name: name of the divergence in configs.
      f: the convex function f(r), with f(1) = 0.
      f_prime: its derivative f'(r).
      of_output: parameterisation -> f' as a function of the network's output o, without additive constants.
    """

    name: str
    f: OutputFn
    f_prime: OutputFn
    of_output: dict[Parameterisation, OutputFn] = field(repr=False)

    def output_derivative(self, parameterisation: Parameterisation) -> OutputFn:
        """Return f' as a function of a network's output, which is r or log r.

        Raises:
          InputError: the output is r, and f' takes its logarithm although the network may output negative numbers.
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
    # Written as r log(2r/(r+1)) - log((r+1)/2), because the usual form loses digits: it subtracts two numbers of size
    # r log r.
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
