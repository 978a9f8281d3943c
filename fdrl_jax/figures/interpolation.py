"""The picture of an interpolation (Fig. 9)."""

import numpy as np
from jaxtyping import Float

from fdrl_jax import pictures
from fdrl_jax.figures import layout
from fdrl_jax.figures.naming import provenance
from fdrl_jax.pictures import Picture
from fdrl_jax.sampling import Model


def interpolation_picture(model: Model, images: Float[np.ndarray, "pairs between h w c"], seed: int) -> Picture:
    """Fig. 9: a row for each pair, its two ends left and right."""
    pairs, between = images.shape[:2]
    rows = layout.enlarged(pictures.image_grid(images.reshape(pairs * between, *images.shape[2:]), between), 760)
    labels = ["one end", *[""] * (between - 2), "other end"]
    return layout.framed(
        np.concatenate([layout.column_labels(rows.shape[1], labels), rows]),
        "Interpolation in the space of the prior (as Fig. 9)",
        f"{provenance(model, seed)}. Between the two ends of a row the start of the flow moves along an arc of the "
        f"whitened prior; the flow's noise is the same for the whole row. The first {pairs} pairs of the seed.",
    )
