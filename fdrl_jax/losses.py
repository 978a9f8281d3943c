"""Bregman losses for density-ratio estimation, per example (Eq. 11 and 18-21 of arXiv 2303.03714).

Each loss estimates BD_g(r* || r), up to a constant, as E_p[data term] + E_q[flow term]. Its minimiser is r = q / p.
A loss takes the network's outputs on data and on flowed samples. It returns the two terms for each example, in the
shapes of the two inputs, which may differ; the caller averages each term and adds the averages. `PARAMETERISATION`
says for each loss whether the output is r or log r.
"""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from fdrl_jax.divergences import bounded_exp
from fdrl_jax.types import Parameterisation

DataOutput = Float[Array, "*data"]
FlowOutput = Float[Array, "*flow"]


def lsif(data_output: DataOutput, flow_output: FlowOutput) -> tuple[DataOutput, FlowOutput]:
    """Return the terms of least-squares importance fitting, o = r: 0.5 E_p[o^2] - E_q[o].

    This is Eq. 18 with the square inside the expectation, as in its derivation and in the authors' code.
    Kanamori et al., "A least-squares approach to direct importance estimation", JMLR 2009.
    """
    return 0.5 * data_output**2, -flow_output


def logistic(data_output: DataOutput, flow_output: FlowOutput) -> tuple[DataOutput, FlowOutput]:
    """Return the terms of logistic regression, o = log r: -E_p[log sigmoid(-o)] - E_q[log sigmoid(o)] (Eq. 19-21)."""
    return -jax.nn.log_sigmoid(-data_output), -jax.nn.log_sigmoid(flow_output)


def kliep(data_output: DataOutput, flow_output: FlowOutput) -> tuple[DataOutput, FlowOutput]:
    """Return the terms of KLIEP without its normalisation constraint, o = log r: E_p[exp(o)] - E_q[o].

    The loss is in the authors' code but not in the paper. exp is `divergences.bounded_exp`, which is finite at o = 1e4.
    Sugiyama et al., "Direct importance estimation for covariate shift adaptation", AISM 2008.
    """
    return bounded_exp(data_output), -flow_output


Loss = Callable[[DataOutput, FlowOutput], tuple[DataOutput, FlowOutput]]

LOSSES: dict[str, Loss] = {"lsif": lsif, "lr": logistic, "kliep": kliep}

PARAMETERISATION: dict[str, Parameterisation] = {"lsif": "ratio", "lr": "log_ratio", "kliep": "log_ratio"}
