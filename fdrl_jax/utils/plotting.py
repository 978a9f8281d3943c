"""Pictures of samples, as uint8 arrays [height, width, 3]: grids of images and scatter plots of points."""

import math
import pathlib

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from fdrl_jax.utils.atomic_files import atomic
from fdrl_jax.utils.pixel_scaling import to_uint8

Picture = UInt8[np.ndarray, "_height _width 3"]
Images = Float[np.ndarray, "n h w c"]
Points = Float[np.ndarray, "n 2"]

# Small images are enlarged to about this many pixels a side, so that they can be seen.
_CELL_SIZE = 40


def image_grid(images: Images, columns: int | None = None) -> Picture:
    """Arrange images in a grid on a white background.

    Args:
      images: images [n, h, w, c] in [-1, 1], c = 1 or 3.
      columns: number of images in a row; by default the grid is about square.
    """
    n, h, w, c = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    scale = max(1, round(_CELL_SIZE / max(h, w)))
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
    """Arrange images with one row for each class, in the order of the classes; a row keeps the order of the images.

    Images of a single class are arranged like those of `image_grid`.

    Args:
      images: images [n, h, w, c] in [-1, 1], c = 1 or 3.
      labels: class of each image.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) == 1:
        return image_grid(images)
    rows = np.ones((len(classes), counts.max(), *images.shape[1:]), images.dtype)  # Shorter rows end in white.
    for row, label in zip(rows, classes, strict=True):
        of_class = images[labels == label]
        row[: len(of_class)] = of_class
    return image_grid(rows.reshape(-1, *images.shape[1:]), columns=int(counts.max()))


def scatter(clouds: dict[str, Points], title: str = "") -> Picture:
    """Draw clouds of points in one panel with a legend, later ones over earlier ones.

    Args:
      clouds: label -> points.
      title: title of the panel.
    """
    return scatter_panels({title: clouds})


def scatter_panels(
    panels: dict[str, dict[str, Points]],
    columns: int = 5,
    legend: bool = True,
    limits: tuple[float, float] | None = None,
    paths: dict[str, Points] | None = None,
) -> Picture:
    """Draw scatter plots side by side with the same axes.

    Args:
      panels: title -> {label -> points}.
      columns: number of panels in a row.
      legend: True to show a legend in the first panel.
      limits: range of both axes; by default that of the central 99% of all points with a margin, so that a few outliers
        do not shrink the rest.
      paths: title -> points that are joined by a line in that panel.
    """
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.6 * columns, 3.9 * rows), dpi=100, layout="compressed")
    axes = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
    everything = np.concatenate([cloud for clouds in panels.values() for cloud in clouds.values()])
    finite = everything[np.isfinite(everything).all(axis=1)]
    low, high = np.quantile(finite, 0.005, axis=0), np.quantile(finite, 0.995, axis=0)
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
        axis.tick_params(labelbottom=True)  # Shared axes are labelled only in the last row, which may be hidden.
    if legend:
        figure.axes[0].legend(markerscale=4, loc="best", fontsize="small")
    return render(figure)


def render(figure: Figure) -> Picture:
    """Return a matplotlib figure as an array, without a display or matplotlib's global state."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def stack(*rows: Picture) -> Picture:
    """Stack pictures of any width on top of each other, filled with white on the right."""
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate(padded)


def strips(*sets: Images, columns: int = 12) -> Picture:
    """Show several sets of images aligned: image i of the first set above image i of the second, and so on.

    Args:
      *sets: sets of images, each [n, h, w, c] in [-1, 1], with the same n.
      columns: number of images side by side before the next strip begins below.
    """
    rows = []
    for first in range(0, len(sets[0]), columns):
        chosen = [images[first : first + columns] for images in sets]
        grid = image_grid(np.concatenate(chosen), columns=len(chosen[0]))
        rows += [grid, np.full((grid.shape[0] // (4 * len(sets)), 1, 3), 255, np.uint8)]
    return stack(*rows[:-1])


def flow_picture(steps: np.ndarray, states: Float[np.ndarray, "time n *event"]) -> Picture:
    """Draw the flow from prior to sample: images with one row per sample, points with one panel per time.

    Args:
      steps: step count of each state, [time]; the titles of the panels.
      states: states of the flow.
    """
    if states.ndim == 5:
        time, n = states.shape[:2]
        return image_grid(states.swapaxes(0, 1).reshape(n * time, *states.shape[2:]), columns=time)
    return scatter_panels(
        {f"step {step}": {"x": points} for step, points in zip(steps, states, strict=True)}, legend=False
    )


def save_picture(path: pathlib.Path, picture: Picture | UInt8[np.ndarray, "_height _width"]) -> None:
    """Write a PNG file atomically, in colour or grey."""
    with atomic(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
