"""Fig. 11: draws of the prior, and the samples that start from them."""

import math

import numpy as np
from jaxtyping import Float

from fdrl_jax.evaluation.figures import layout
from fdrl_jax.experiment import naming
from fdrl_jax.experiment.model import Model
from fdrl_jax.utils.plotting import Picture

Images = Float[np.ndarray, "n h w c"]


def prior_and_samples(model: Model, draws: Images, samples: Images, seed: int) -> Picture:
    """Draw Fig. 11: a grid of prior draws, and a grid of the samples from them in the same places.

    Args:
      model: the model, for the caption.
      draws: images in [-1, 1], from `sampling.sample` with `num_steps=0`.
      samples: as many images, from `sampling.sample` of the same seed.
      seed: the sampling seed, for the caption.
    """
    columns = math.ceil(math.sqrt(len(draws)))
    name = "images of the source domain" if naming.is_translation(model.experiment) else "prior draws"
    return layout.framed(
        layout.side_by_side(
            {name: layout.grid(draws, columns, 400), "samples from them": layout.grid(samples, columns, 400)}
        ),
        "The prior (as Fig. 11), and the samples that start from it",
        f"{naming.provenance(model, seed)}. Each sample is in the place of the draw that it started from. The first "
        f"{len(draws)} of the seed.",
    )
