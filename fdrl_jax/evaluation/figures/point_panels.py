"""Scatter plots of data, prior draws and particles in the plane, with the same axes in every panel."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from fdrl_jax.utils import plotting
from fdrl_jax.utils.plotting import Picture, Points

Limits = tuple[tuple[float, float], tuple[float, float]]

# As in the paper, the prior is blue and the particles are orange; the data are grey, behind them.
_COLOURS = {"data": "0.72", "prior": "tab:blue", "particles": "tab:orange"}
_ALPHA = {"data": 0.6, "prior": 0.25, "particles": 0.6}


def frame_limits(*clouds: Points) -> Limits:
    """Return the limits of x and of y of a square around the middle 99% of all points, with a margin.

    Callers pass the data and the prior draws, so that particles that fly off do not shrink the rest.
    """
    points = np.concatenate(clouds)
    low, high = np.quantile(points, 0.005, axis=0), np.quantile(points, 0.995, axis=0)
    centre, half = (low + high) / 2, 0.6 * float((high - low).max()) + 1e-3
    (left, bottom), (right, top) = centre - half, centre + half
    return (float(left), float(right)), (float(bottom), float(top))


def point_panels(
    clouds: dict[str, dict[str, Points]],
    limits: Limits,
    columns: int = 5,
    path: Float[np.ndarray, "time 2"] | None = None,
    path_label: str = "path of the mean",
    size: float = 3.2,
) -> Picture:
    """Draw one scatter plot for each entry of `clouds`.

    The title of a panel ends with the share of particles outside the axes, if there are any.

    Args:
      clouds: title of a panel -> {"data", "prior" or "particles" -> points}.
      limits: limits of x and of y.
      columns: number of panels in a row.
      path: points joined by a line in every panel; None for no line.
      path_label: name of the line in the legend.
      size: side of a panel, in inches of 100 pixels.
    """
    columns = min(columns, len(clouds))
    rows = -(-len(clouds) // columns)
    figure = Figure(figsize=(size * columns, size * rows + 0.5), dpi=100, layout="compressed")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, (title, named) in zip(axes, clouds.items(), strict=False):
        for name, points in named.items():
            axis.scatter(*points.T, s=4, alpha=_ALPHA[name], linewidths=0, color=_COLOURS[name], label=name)
        if path is not None:
            axis.plot(*path.T, color="black", linewidth=1.2, label=path_label)
        outside = _share_outside(named["particles"], limits) if "particles" in named else 0.0
        axis.set(xlim=limits[0], ylim=limits[1])
        if title:
            axis.set_title(f"{title}{f' ({outside:.1%} outside)' if outside else ''}", fontsize=10)
        axis.tick_params(labelsize=8)
        axis.set_aspect("equal")
    for axis in axes[len(clouds) :]:
        axis.set_visible(False)
    last_title = list(clouds)[-1]
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if last_title:
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=4, markerscale=4, fontsize=9)
    return plotting.render(figure)


def _share_outside(points: Points, limits: Limits) -> float:
    """Return the share of points that the axes do not show; a point that is not finite counts as outside."""
    (left, right), (bottom, top) = limits
    x, y = points.T
    return float(1 - ((x >= left) & (x <= right) & (y >= bottom) & (y <= top)).mean())
