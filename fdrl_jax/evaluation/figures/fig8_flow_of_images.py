"""Fig. 8, and Fig. 7 for translation: the flow of images, one row for each sample."""

import numpy as np
from jaxtyping import Float, Int

from fdrl_jax.evaluation.figures import layout
from fdrl_jax.experiment import naming
from fdrl_jax.experiment.model import Model
from fdrl_jax.utils import plotting
from fdrl_jax.utils.plotting import Picture


def flow_rows(
    model: Model, step_counts: Int[np.ndarray, " time"], states: Float[np.ndarray, "time n h w c"], seed: int
) -> Picture:
    """Draw Fig. 8, or Fig. 7 where the prior is a set of images: one row per sample, one column per time.

    Args:
      model: the model, for the caption.
      step_counts, states: flow steps and images in [-1, 1], from `sampling.trajectory`.
      seed: the sampling seed, for the caption.
    """
    rows = layout.enlarged(plotting.flow_picture(step_counts, states), 800)
    labels = [str(k) for k in step_counts]
    translation = naming.is_translation(model.experiment)
    start = "an image of the source domain" if translation else "a draw from the prior"
    return layout.framed(
        np.concatenate([layout.column_labels(rows.shape[1], labels), rows]),
        f"{'Translation' if translation else 'The flow'}, step by step (as Fig. {7 if translation else 8})",
        f"{naming.provenance(model, seed)}. Numbers are flow steps: 0 is {start}, the last column the sample. "
        f"{naming.refinement(model.experiment)}. The first {states.shape[1]} samples of the seed.",
    )
