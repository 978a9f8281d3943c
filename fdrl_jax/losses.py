"""Bregman density-ratio losses (Eq. 11, 18-21 of arXiv 2303.03714), per example.

Each loss estimates BD_g(r* || r) up to a constant as E_p[data term] + E_q[flow term]; its minimiser is
r = q / p. A loss takes the network's outputs on data and on flowed samples and returns the two
terms unreduced, each in the shape of its own input (the two may differ); the caller takes the two
means and adds them. Which of r and log r the output is, `PARAMETERISATION` says.
"""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from fdrl_jax.divergences import bounded_exp
from fdrl_jax.types import Parameterisation

DataOutput = Float[Array, "*data"]
FlowOutput = Float[Array, "*flow"]


def lsif(data_output: DataOutput, flow_output: FlowOutput) -> tuple[DataOutput, FlowOutput]:
    """Least-squares importance fitting, o = r: 0.5 E_p[o^2] - E_q[o].

    Eq. 18 with the square inside the expectation, where the derivation (and the authors' code) has it.
    Kanamori et al., "A least-squares approach to direct importance estimation", JMLR 2009.
    """
    return 0.5 * data_output**2, -flow_output


def logistic(data_output: DataOutput, flow_output: FlowOutput) -> tuple[DataOutput, FlowOutput]:
    """Logistic regression, o = log r: -E_p[log sigmoid(-o)] - E_q[log sigmoid(o)] (Eq. 19-21)."""
    return -jax.nn.log_sigmoid(-data_output), -jax.nn.log_sigmoid(flow_output)


def kliep(data_output: DataOutput, flow_output: FlowOutput) -> tuple[DataOutput, FlowOutput]:
    """KLIEP without its normalisation constraint, o = log r: E_p[exp(o)] - E_q[o].

    In the authors' code, not in the paper. Sugiyama et al., "Direct importance estimation for
    covariate shift adaptation", AISM 2008. exp is `divergences.bounded_exp`, finite at o = 1e4.
    """
    return bounded_exp(data_output), -flow_output


Loss = Callable[[DataOutput, FlowOutput], tuple[DataOutput, FlowOutput]]

LOSSES: dict[str, Loss] = {"lsif": lsif, "lr": logistic, "kliep": kliep}

PARAMETERISATION: dict[str, Parameterisation] = {"lsif": "ratio", "lr": "log_ratio", "kliep": "log_ratio"}
