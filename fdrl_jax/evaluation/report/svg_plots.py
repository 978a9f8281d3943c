"""Curves and histograms as inline SVG, drawn by matplotlib and coloured by the page.

A plot is one panel, about as wide as a phone. Its title and legend are HTML around the SVG, so that they wrap and have
the reader's font. Its colours are CSS variables, which the page sets for light and dark screens.
"""

import dataclasses
import html
import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

# A line of more points is drawn through means over neighbours, with a band from their lowest to their highest value.
MAX_POINTS = 600
# Number of colours in the style sheet (--series-0, ...), and dash patterns for more lines than colours.
NUM_COLOURS = 7
_DASHES = ("", "6 3", "2 2", "8 3 2 3")

Vector = Float[np.ndarray, " n"]
Thinned = Float[np.ndarray, " groups"]


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a plot.

    Attributes:
      label: text in the legend; "" to leave the line out of it.
      x, y: coordinates of the points, as many of each; None and numbers that are not finite leave a gap.
      series: index of the colour and the dash pattern, from 0.
      opacity: opacity in (0, 1].
    """

    label: str
    x: Sequence[float | int | None]
    y: Sequence[float | int | None]
    series: int = 0
    opacity: float = 1.0


@dataclasses.dataclass(frozen=True)
class Legend:
    """An entry of a legend.

    Attributes:
      label: text of the entry.
      colour: colour of the line in CSS.
      dashes: dash pattern of the line in SVG; "" for a solid line.
      opacity: opacity of the line.
    """

    label: str
    colour: str
    dashes: str
    opacity: float


@dataclasses.dataclass(frozen=True)
class Plot:
    """A panel with the texts around it.

    Attributes:
      title: text above the panel, not escaped.
      svg: the panel as an <svg> element.
      legend: entries of the legend.
      note: text below the panel, not escaped.
    """

    title: str
    svg: str
    legend: list[Legend]
    note: str = ""


def lines(
    slug: str,
    title: str,
    curves: Sequence[Line],
    x_label: str = "training step",
    log: bool = False,
    mark: float | None = None,
    note: str = "",
) -> Plot:
    """Draw curves in one panel.

    Args:
      slug: letters, digits and dashes; different for each plot of a page.
      title: text above the panel.
      curves: lines in the order of the legend. A single line has no legend.
      x_label: label of the horizontal axis.
      log: True for a logarithmic vertical axis, used only if all values are positive and span a factor of ten.
      mark: height of a thin horizontal line, drawn only if it is near the data; None for no line.
      note: text below the panel; a sentence on thinned lines is added to it.
    """
    figure, axis = _panel(x_label)
    # Number of values that the points of a thinned line are means of, and all values drawn.
    thinned, shown = 0, []
    for curve in curves:
        x, y = _floats(curve.x), _floats(curve.y)
        group_size = -(-len(x) // MAX_POINTS) if len(x) > MAX_POINTS else 1
        x, y, low, high = _thin(x, y, group_size)
        thinned = max(thinned, group_size if group_size > 1 else 0)
        colour, pattern = _placeholder(curve.series), _DASHES[curve.series // NUM_COLOURS % len(_DASHES)]
        style = (0, tuple(map(float, pattern.split()))) if pattern else "solid"
        few = np.isfinite(y).sum() <= 12 and curve.opacity == 1
        axis.plot(
            x, y, color=colour, alpha=curve.opacity, linestyle=style, linewidth=1.6, marker="o" if few else "", ms=3
        )
        if group_size > 1:
            axis.fill_between(x, low, high, color=colour, alpha=0.2 * curve.opacity, linewidth=0)
        shown += [low, high]
    values = np.concatenate([*shown, np.zeros(0)])
    values = values[np.isfinite(values)]
    if log:
        _logarithmic(axis, values)
    if mark is not None and len(values) and np.ptp([mark, *values]) <= 3 * np.ptp(values):
        axis.axhline(mark, color=_PLACEHOLDERS["muted"], linewidth=0.8, linestyle=(0, (3, 3)))
    thinning_note = f"Each point is the mean of {thinned} logged values; the band is their range." if thinned else ""
    entries = [_legend(c.label, c.series, c.opacity) for c in curves if c.label]
    legend = entries if len(curves) > 1 else []
    return Plot(title, _svg(figure, slug, title), legend, " ".join(filter(None, [note, thinning_note])))


def histogram(
    slug: str,
    title: str,
    edges: Sequence[float | int],
    counts: dict[str, Sequence[float | int]],
    x_label: str,
    note: str = "",
) -> Plot:
    """Draw histograms with the same bins in one panel, each scaled to area 1.

    Args:
      slug, title, x_label, note: as in `lines`.
      edges: increasing edges of the bins.
      counts: label -> count in each bin. A histogram without counts is left out.
    """
    figure, axis = _panel(x_label)
    widths = np.diff(_floats(edges))
    legend = []
    # The edges do not depend on the data, so bins at both ends that are empty in all histograms are cut off.
    filled = np.flatnonzero(sum(_floats(row) for row in counts.values() if len(row)))
    for series, (label, row) in enumerate(counts.items()):
        heights = _floats(row)
        if heights.sum() > 0:
            heights = heights / heights.sum() / widths
            axis.stairs(heights, _floats(edges), color=_placeholder(series), linewidth=1.5)
            axis.stairs(heights, _floats(edges), color=_placeholder(series), fill=True, alpha=0.15)
            legend.append(_legend(label, series, 1.0))
    if len(filled):
        axis.set_xlim(edges[max(filled[0] - 1, 0)], edges[min(filled[-1] + 2, len(edges) - 1)])
    axis.set_ylim(bottom=0)
    axis.axvline(0, color=_PLACEHOLDERS["muted"], linewidth=0.8, linestyle=(0, (3, 3)))
    return Plot(title, _svg(figure, slug, title), legend, note)


# --- Colours: matplotlib has no CSS variables, so it draws in unique colours that are then replaced in its output. ---

_PLACEHOLDERS = {"ink": "#fe0100", "muted": "#fe0101", "grid": "#fe0102"}
_VARIABLES = {colour: f"var(--{name})" for name, colour in _PLACEHOLDERS.items()} | {
    f"#fe02{i:02x}": f"var(--series-{i})" for i in range(NUM_COLOURS)
}


def _placeholder(series: int) -> str:
    """Return the colour that stands for the CSS variable of a series."""
    return f"#fe02{series % NUM_COLOURS:02x}"


def _legend(label: str, series: int, opacity: float) -> Legend:
    return Legend(label, _VARIABLES[_placeholder(series)], _DASHES[series // NUM_COLOURS % len(_DASHES)], opacity)


def _floats(values: Sequence[float | int | None]) -> Vector:
    array = np.array([np.nan if value is None else value for value in values], np.float64)
    return np.where(np.isfinite(array), array, np.nan)


def _thin(x: Vector, y: Vector, group_size: int) -> tuple[Thinned, Thinned, Thinned, Thinned]:
    """Return the mean x, mean y, lowest y and highest y of groups of neighbours; NaN for a group without a number."""
    if group_size == 1:
        return x, y, y, y
    starts = range(0, len(y), group_size)
    groups = [y[i : i + group_size] for i in starts]
    groups = [group[np.isfinite(group)] for group in groups]
    rows = np.array([[g.mean(), g.min(), g.max()] if len(g) else [np.nan] * 3 for g in groups])
    return np.array([x[i : i + group_size].mean() for i in starts]), rows[:, 0], rows[:, 1], rows[:, 2]


def _panel(x_label: str) -> tuple[Figure, Axes]:
    # A phone shows the points of the SVG at about 1.2 pixels each, so text of size 9 appears as 11 pixels.
    figure = Figure(figsize=(4.2, 2.5), layout="constrained")
    axis = figure.subplots()
    axis.grid(color=_PLACEHOLDERS["grid"], linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.spines["bottom"].set_color(_PLACEHOLDERS["muted"])
    axis.tick_params(colors=_PLACEHOLDERS["muted"], labelsize=9, length=0, pad=4)
    axis.set_xlabel(x_label, color=_PLACEHOLDERS["muted"], fontsize=9)
    _linear_ticks(axis.xaxis, 6)
    _linear_ticks(axis.yaxis, 5)
    axis.margins(x=0.02, y=0.08)
    return figure, axis


def _linear_ticks(axis: Axis, most: int) -> None:
    """Place at most `most` intervals between round numbers; all labels have the decimals of the one that needs most."""
    axis.set_major_locator(ticker.MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))

    def text(value: float, _: object) -> str:
        ticks = axis.get_major_locator()()
        largest = np.abs(ticks).max()
        if not 1e-3 <= largest < 1e7:
            return _plain(f"{value:,g}")
        decimals = max(len(f"{tick:.6f}".rstrip("0").partition(".")[2]) for tick in ticks)
        return _plain(f"{value:,.{decimals}f}")

    axis.set_major_formatter(ticker.FuncFormatter(text))


def _plain(text: str) -> str:
    """Return a number with a typographic minus sign."""
    return text.replace("-", "\N{MINUS SIGN}")


def _logarithmic(axis: Axes, values: Vector) -> None:
    """Make the vertical axis logarithmic if all values are positive and span a factor of ten."""
    if not len(values) or values.min() <= 0 or values.max() < 9.9 * values.min():
        return
    axis.set_yscale("log")
    short = values.max() / values.min() < 50  # Powers of ten alone would be too few ticks.
    axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0) if short else (1.0,)))
    axis.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: _plain(f"{value:,g}")))
    axis.yaxis.set_minor_locator(ticker.NullLocator())


def _svg(figure: Figure, slug: str, title: str) -> str:
    """Return the figure as an <svg> element to put into a page.

    Its ids start with `slug`, so that they differ from those of other plots; its colours are the CSS variables of the
    page; its label for screen readers is the title.
    """
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": slug}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"#fe0[12]0[0-9a-f]", lambda match: _VARIABLES[match[0]], text)
    used = set(re.findall(r'(?:url\(|xlink:href=")#([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{slug}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(|xlink:href=")#', rf"\g<1>#{slug}-", text)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box
    body = text[text.index(">") + 1 :].rstrip()
    return re.sub(r"\n\s*", "\n", f'<svg {box[0]} role="img" aria-label="Plot: {html.escape(title)}">{body}')
