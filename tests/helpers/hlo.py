"""Compiled programs as text (HLO), and facts read from that text."""

import re

import jax
import jax.numpy as jnp

from fdrl_jax import flow, models
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.utils import rng
from fdrl_jax.utils.compilation import Program


def compiled_flow(network) -> str:
    """The HLO of a flow of 7 steps with the ratio of `network`, for 4 images 8x8x1."""
    estimator = models.estimator(network, (8, 8, 1), "ratio")
    f_prime = DIVERGENCES["chi2"].output_derivative("ratio")

    @Program
    def simulate(params, x):
        dynamics = flow.Dynamics(ratio_fn=estimator.ratio_fn(params), f_prime=f_prime, step_size=1.0, noise=0.0)
        return flow.simulate(rng.per_sample(jax.random.key(0), len(x)), x, num_steps=7, **dynamics)

    params = jax.eval_shape(estimator.init, jax.random.key(0))
    return simulate.lower(params, jax.ShapeDtypeStruct((4, 8, 8, 1), jnp.float32)).compile().as_text()


def loop_body(text: str) -> str:
    """The body of the only loop with convolutions."""
    bodies = dict(re.findall(r"^(%[\w.-]+) \(.*?\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL))
    (body,) = [bodies[name] for name in re.findall(r"body=(%[\w.-]+)", text) if "convolution(" in bodies[name]]
    return body


def kernels(body: str) -> list[str]:
    """The operation that produces the kernel of each convolution: "get-tuple-element" if it is outside of the loop."""
    made_by = dict(re.findall(r"^ *(?:ROOT )?(%[\w.-]+) = .*?\S ([\w-]+)\(", body, re.MULTILINE))
    return [made_by[name] for name in re.findall(r" convolution\(%[\w.-]+, (%[\w.-]+)\)", body)]
