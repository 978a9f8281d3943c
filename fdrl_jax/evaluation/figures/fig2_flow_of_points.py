"""Fig. 2: the flow of points in the plane, from the prior to the data."""

import numpy as np
from jaxtyping import Float, Int

from fdrl_jax.evaluation.figures import layout
from fdrl_jax.evaluation.figures.point_panels import frame_limits, point_panels
from fdrl_jax.experiment import naming
from fdrl_jax.experiment.model import Model
from fdrl_jax.utils.plotting import Picture, Points


def flow_panels(
    model: Model,
    step_counts: Int[np.ndarray, " time"],
    states: Float[np.ndarray, "time n 2"],
    data: Points,
    seed: int,
    num_panels: int = 5,
) -> Picture:
    """Draw Fig. 2: the particles over the data at several times of the flow, with the whole path of their mean.

    Args:
      model: the model, for the caption.
      step_counts, states: flow steps and particles, from `sampling.trajectory`.
      data: points of p.
      seed: the sampling seed, for the caption.
      num_panels: largest number of panels; the first and the last time are among them.
    """
    shown = np.unique(np.linspace(0, len(states) - 1, num_panels).round().astype(int))
    clouds = {f"step {step_counts[i]}": {"data": data, "prior": states[0], "particles": states[i]} for i in shown}
    # At the first time the particles are the prior draws, which are drawn already.
    del clouds[f"step {step_counts[0]}"]["particles"]
    return layout.framed(
        point_panels(clouds, frame_limits(data, states[0]), path=states.mean(axis=1)),
        "The flow from prior to data (as Fig. 2)",
        f"{naming.provenance(model, seed)}. {states.shape[1]:,} particles; {naming.training_flow(model.experiment)}.",
    )
