"""Pictures of samples, as uint8 arrays [height, width, 3]: grids of images, scatter plots of points."""

import math

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fdrl_jax.pixels import to_uint8

Picture = UInt8[np.ndarray, "_height _width 3"]
Images = Float[np.ndarray, "n h w c"]
Points = Float[np.ndarray, "n 2"]

# Small images are enlarged to about this many pixels a side, or nobody can see them.
_CELL = 40


def image_grid(images: Images, columns: int | None = None) -> Picture:
    """Images in rows of `columns` (a square by default), on white.

    Args:
      images: [n, h, w, c] in [-1, 1], c = 1 or 3.
      columns: how many in a row.
    """
    n, h, w, c = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    scale = max(1, round(_CELL / max(h, w)))
    gap = max(1, scale // 2)
    cells = to_uint8(images).repeat(scale, axis=1).repeat(scale, axis=2)
    cells = np.broadcast_to(cells, (*cells.shape[:3], 3)) if c == 1 else cells
    step_y, step_x = h * scale + gap, w * scale + gap
    canvas = np.full((rows * step_y + gap, columns * step_x + gap, 3), 255, np.uint8)
    for i, cell in enumerate(cells):
        y, x = gap + (i // columns) * step_y, gap + (i % columns) * step_x
        canvas[y : y + h * scale, x : x + w * scale] = cell
    return canvas


def class_grid(images: Images, labels: Int[np.ndarray, " n"]) -> Picture:
    """Images with one row a class, in the order of the classes; each row in the order of the images.

    Of a single class they are a grid like any other.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) == 1:
        return image_grid(images)
    rows = np.ones((len(classes), counts.max(), *images.shape[1:]), images.dtype)  # White where a row is shorter.
    for row, label in zip(rows, classes, strict=True):
        of_class = images[labels == label]
        row[: len(of_class)] = of_class
    return image_grid(rows.reshape(-1, *images.shape[1:]), columns=int(counts.max()))


def scatter(clouds: dict[str, Points], title: str = "") -> Picture:
    """Clouds of points over one another in the order given, with a legend."""
    return scatter_panels({title: clouds})


def scatter_panels(
    panels: dict[str, dict[str, Points]],
    columns: int = 5,
    legend: bool = True,
    limits: tuple[float, float] | None = None,
    paths: dict[str, Points] | None = None,
) -> Picture:
    """Scatter plots side by side on common axes.

    Args:
      panels: title -> {label -> points}.
      columns: panels to a row.
      legend: whether the first panel explains the labels.
      limits: of both axes; by default the central 99% of all points with a margin, so that a few strays do not
        shrink the rest.
      paths: title -> points joined by a line in that panel.
    """
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.6 * columns, 3.9 * rows), dpi=100, layout="compressed")
    axes = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
    together = np.concatenate([cloud for clouds in panels.values() for cloud in clouds.values()])
    together = together[np.isfinite(together).all(axis=1)]
    low, high = np.quantile(together, 0.005, axis=0), np.quantile(together, 0.995, axis=0)
    centre, half = (low + high) / 2, 0.6 * float((high - low).max()) + 1e-3
    x_limits, y_limits = (limits, limits) if limits else ((c - half, c + half) for c in centre)
    for axis, (title, clouds) in zip(axes, panels.items(), strict=False):
        for label, points in clouds.items():
            axis.scatter(points[:, 0], points[:, 1], s=3, alpha=0.5, linewidths=0, label=label)
        if paths and title in paths:
            axis.plot(*paths[title].T, color="black", linewidth=1)
        axis.set(title=title, xlim=x_limits, ylim=y_limits)
        axis.set_aspect("equal")
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(panels) - columns) : len(panels)]:
        axis.tick_params(labelbottom=True)  # Shared axes label only the last row, which may be hidden.
    if legend:
        figure.axes[0].legend(markerscale=4, loc="best", fontsize="small")
    return render(figure)


def render(figure: Figure) -> Picture:
    """A matplotlib figure as an array, without a display or global state."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def stack(*rows: Picture) -> Picture:
    """Pictures of any width one above the other, on white."""
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate(padded)


def strips(*sets: Images, columns: int = 12) -> Picture:
    """Sets of images item by item, the first set's above the second's and so on, in strips of `columns` items.

    Args:
      sets: [n, h, w, c] in [-1, 1] each, of one n.
      columns: how many items to a strip.
    """
    rows = []
    for first in range(0, len(sets[0]), columns):
        chosen = [images[first : first + columns] for images in sets]
        grid = image_grid(np.concatenate(chosen), columns=len(chosen[0]))
        rows += [grid, np.full((grid.shape[0] // (4 * len(sets)), 1, 3), 255, np.uint8)]
    return stack(*rows[:-1])


def flow_picture(steps: np.ndarray, states: Float[np.ndarray, "time n *event"]) -> Picture:
    """The flow from prior to sample: images as one row a sample, points as one panel a time."""
    if states.ndim == 5:
        time, n = states.shape[:2]
        return image_grid(states.swapaxes(0, 1).reshape(n * time, *states.shape[2:]), columns=time)
    return scatter_panels(
        {f"step {step}": {"x": points} for step, points in zip(steps, states, strict=True)}, legend=False
    )
