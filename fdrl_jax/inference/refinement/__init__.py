"""Sample refinement: the flow moves samples of a generator to the data (DGflow, section 4.1 of arXiv 2303.03714).

`dgflow.refine` is the flow. Its ratio of the generator to the data comes from one of three sources:

- the generator's own discriminator: `discriminator_ratio(discriminator)`, which is log r = -d;
- for a generator without a discriminator, such as a VAE: `fit_ratio` between its samples and the data;
- the density-ratio corrector of DGflow: the discriminator of another generator q_0, times a ratio fitted between the
  two generators, q / p = (q_0 / p) (q / q_0):

    base = discriminator_ratio(discriminator)                  # log q_0 / p
    correction = fit_ratio(samples_of_q0, generator, network)  # log q / q_0, with samples_of_q0 in place of the data
    ratio_fn = compose.product(base, correction, parameterisation="log_ratio")
"""

from fdrl_jax.inference.refinement.dgflow import refine as refine
from fdrl_jax.inference.refinement.discriminator import discriminator_ratio as discriminator_ratio
from fdrl_jax.inference.refinement.fitted_ratio import fit_ratio as fit_ratio
