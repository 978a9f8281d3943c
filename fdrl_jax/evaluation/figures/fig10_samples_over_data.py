"""Fig. 10: data, samples, and samples over data, for points in the plane."""

from fdrl_jax.evaluation.figures import layout
from fdrl_jax.evaluation.figures.point_panels import frame_limits, point_panels
from fdrl_jax.experiment.model import Model
from fdrl_jax.experiment.naming import provenance, short_method_name
from fdrl_jax.utils.plotting import Picture, Points


def samples_beside_data(model: Model, samples: Points, draws: Points, data: Points, seed: int) -> Picture:
    """Draw Fig. 10: three panels with the data, the samples, and the samples over the data.

    Args:
      model: the model, for the caption.
      samples: `sampling.sample` of the model.
      draws: prior draws, from `sampling.sample` with `num_steps=0`; the axes fit them and the data.
      data: points of p.
      seed: the sampling seed, for the caption.
    """
    clouds = {
        "data p": {"data": data},
        f"samples, {short_method_name(model.experiment)}": {"particles": samples},
        "samples over data": {"data": data, "particles": samples},
    }
    return layout.framed(
        point_panels(clouds, frame_limits(data, draws)),
        "Samples and data (as Fig. 10)",
        f"{provenance(model, seed)}. {len(samples):,} samples, {len(data):,} points of the data.",
    )
