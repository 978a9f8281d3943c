"""Fig. 3: samples of points in the plane at several steps of one training run."""

from collections.abc import Sequence

import numpy as np

from fdrl_jax.evaluation.figures import layout
from fdrl_jax.evaluation.figures.point_panels import frame_limits, point_panels
from fdrl_jax.experiment.model import Model
from fdrl_jax.experiment.naming import provenance
from fdrl_jax.utils.plotting import Picture, Points


def training_panels(
    models: Sequence[Model], samples: Sequence[Points], draws: Points, data: Points, seed: int
) -> Picture:
    """Draw Fig. 3: the samples at several training steps, and a line through their means.

    Args:
      models: models of one run, in the order of their steps, with the online parameters, which drive the flow in
        training.
      samples: samples of each model, all from the same seed.
      draws: the prior draws from which all these samples start.
      data: points of p.
      seed: the sampling seed, for the caption.
    """
    clouds = {
        f"{model.step:,} training steps": {"data": data, "prior": draws, "particles": x}
        for model, x in zip(models, samples, strict=True)
    }
    path = np.stack([x.mean(axis=0) for x in samples])
    means = "; ".join(f"{m.step:,}: ({x:.2f}, {y:.2f})" for m, (x, y) in zip(models, path, strict=True))
    mean_x, mean_y = data.mean(axis=0)
    return layout.framed(
        point_panels(clouds, frame_limits(data, draws), path=path, path_label="their mean, from panel to panel"),
        "Samples as training goes on (as Fig. 3)",
        f"{provenance(models[-1], seed)}; online parameters. The line joins the means of the particles (orange), "
        f"{means}; the mean of the data is ({mean_x:.2f}, {mean_y:.2f}). The panels are checkpoints that the run has "
        "kept, at most five of them (config.train.keep).",
    )
