"""The trained density ratio as a map of the plane. The paper has no such figure."""

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from fdrl_jax.evaluation.figures import layout
from fdrl_jax.evaluation.figures.point_panels import frame_limits
from fdrl_jax.experiment.model import Model
from fdrl_jax.experiment.naming import provenance
from fdrl_jax.utils import plotting
from fdrl_jax.utils.plotting import Picture, Points

# The colour scale ends at the largest |log r| of this share of the map, within these bounds.
_SHARE, _MIN_SCALE, _MAX_SCALE = 0.98, 0.02, 9.0


def ratio_map(model: Model, samples: Points, draws: Points, data: Points, seed: int, resolution: int = 200) -> Picture:
    """Draw log r over the plane twice, with the particles before and after the flow.

    Args:
      model: the model whose ratio is drawn.
      samples: `sampling.sample` of the model.
      draws: prior draws, from `sampling.sample` with `num_steps=0`; the axes fit them and the data.
      data: points of p.
      seed: the sampling seed, for the caption.
      resolution: number of points of the map along each axis.
    """
    limits = frame_limits(data, draws)
    axes = [np.linspace(*limit, resolution) for limit in limits]
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2).astype(np.float32)
    ratio = np.asarray(model.ratio_fn(jnp.asarray(points)), np.float64).reshape(resolution, resolution)
    positive = model.experiment.method.parameterisation == "log_ratio"
    # A network whose output is r itself can return values below 0, which have no logarithm: they are left grey. A
    # network whose output is log r returns r = 0 only where exp underflows.
    log_ratio = np.log(np.where(ratio > 0, ratio, np.exp(-_MAX_SCALE) if positive else np.nan))
    scale = 1.0
    if (ratio > 0).any():
        scale = float(np.clip(np.nanquantile(np.abs(log_ratio), _SHARE), _MIN_SCALE, _MAX_SCALE))
    figure = Figure(figsize=(10.4, 5), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    for axis, title, cloud in ((left, "before the flow", draws), (right, "after the flow", samples)):
        axis.set_facecolor("0.85")
        image = axis.imshow(
            log_ratio.clip(-scale, scale),
            origin="lower",
            extent=(*limits[0], *limits[1]),
            cmap="RdBu_r",
            vmin=-scale,
            vmax=scale,
        )
        if np.nanmin(log_ratio) < 0 < np.nanmax(log_ratio):
            axis.contour(*axes, log_ratio, levels=[0.0], colors="black", linewidths=0.8)
        axis.scatter(*cloud.T, s=3, color="black", alpha=0.5, linewidths=0)
        axis.set(xlim=limits[0], ylim=limits[1], title=title)
    figure.colorbar(image, ax=(left, right), label="log r", extend="both")
    grey = "" if positive or (ratio > 0).all() else " Grey: the network's r is not above 0 and has no logarithm."
    return layout.framed(
        plotting.render(figure),
        "The trained density ratio, r = q~/p",
        f"{provenance(model, seed)}. Red: more particles than data, so the flow moves them away; blue: fewer. Black "
        f"line: r = 1. Black dots: {len(samples):,} particles. Far from both data and particles the colour means "
        f"little, because no training point was there.{grey}",
    )
