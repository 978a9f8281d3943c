"""Fig. 4, and Fig. 14 to 21: a grid of uncurated samples."""

import math

import numpy as np
from jaxtyping import Float

from fdrl_jax.evaluation.figures import layout
from fdrl_jax.experiment import naming
from fdrl_jax.experiment.model import Model
from fdrl_jax.utils.plotting import Picture


def uncurated(model: Model, samples: Float[np.ndarray, "n h w c"], seed: int) -> Picture:
    """Draw Fig. 4 (and 14 to 21): all of `samples` in their order.

    Args:
      model: the model of the samples, for the caption.
      samples: images [n, H, W, C] in [-1, 1], the first n of `sampling.sample(model, seed, ...)`.
      seed: the sampling seed, for the caption.
    """
    return layout.framed(
        layout.grid(samples, math.ceil(math.sqrt(len(samples)))),
        "Uncurated samples (as Fig. 4)",
        f"{naming.provenance(model, seed)}. The first {len(samples)} samples of the seed, none left out; "
        f"{naming.sampling_procedure(model.experiment)}.",
    )
