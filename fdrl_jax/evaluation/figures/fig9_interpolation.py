"""Fig. 9: interpolation between two draws of the prior."""

import numpy as np
from jaxtyping import Float

from fdrl_jax.evaluation.figures import layout
from fdrl_jax.experiment import naming
from fdrl_jax.experiment.model import Model
from fdrl_jax.utils import plotting
from fdrl_jax.utils.plotting import Picture


def interpolation_picture(model: Model, images: Float[np.ndarray, "pairs between h w c"], seed: int) -> Picture:
    """Draw Fig. 9: one row for each pair, with its two ends at the left and at the right.

    Args:
      model: the model, for the caption.
      images: images in [-1, 1], from `interpolation.interpolate`.
      seed: the sampling seed, for the caption.
    """
    pairs, between = images.shape[:2]
    rows = layout.enlarged(plotting.image_grid(images.reshape(pairs * between, *images.shape[2:]), between), 760)
    labels = ["one end", *[""] * (between - 2), "other end"]
    return layout.framed(
        np.concatenate([layout.column_labels(rows.shape[1], labels), rows]),
        "Interpolation in the space of the prior (as Fig. 9)",
        f"{naming.provenance(model, seed)}. {naming.interpolation(model.experiment)}. The first {pairs} pairs of the "
        "seed.",
    )
