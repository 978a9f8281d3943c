"""Plots: their lines in the SVG, their axes, legends and colours.

Covers: `report.svg_plots`.
"""

import re

import numpy as np
import pytest
from page_content import points_of
from recorded_run import EDGES

from fdrl_jax.evaluation.report import svg_plots


def test_a_line_goes_through_its_points():
    (line,) = points_of(svg_plots.lines("a", "A", [svg_plots.Line("", [0, 1, 3], [0.0, 2.0, 1.0])]).svg)[:1]
    x, y = (line - line[0]).T
    np.testing.assert_allclose(x / x[2], [0, 1 / 3, 1], atol=1e-4)
    np.testing.assert_allclose(y / y[1], [0, 1, 0.5], atol=1e-4)


def test_numbers_that_are_not_finite_leave_a_gap():
    values = [1.0, 2.0, None, 3.0, float("inf"), float("nan"), 4.0, 5.0]
    (line, *_) = points_of(svg_plots.lines("a", "A", [svg_plots.Line("", range(8), values)]).svg)
    assert len(line) == 5
    empty = svg_plots.lines("a", "A", [svg_plots.Line("", [0, 1], [None, None])])
    assert "<svg" in empty.svg


def test_a_long_line_keeps_its_outliers_as_a_band():
    values = np.zeros(6000)
    values[3210] = 7.0
    plot = svg_plots.lines("a", "A", [svg_plots.Line("", list(range(6000)), values.tolist())])
    assert plot.note == "Each point is the mean of 10 logged values; the band is their range."
    assert len(plot.svg) < 60_000
    bands = re.findall(r'd="([^"]*)"[^>]*fill: var\(--series-0\)', plot.svg, re.DOTALL) or re.findall(
        r'<path [^>]*id="[^"]*" d="([^"]*)"', plot.svg, re.DOTALL
    )
    heights = [np.ptp(np.array(re.findall(r"[ML] (\S+) (\S+)", band), float)[:, 1]) for band in bands]
    (line, *_) = points_of(plot.svg)
    assert max(heights) == pytest.approx(10 * np.ptp(line[:, 1]), rel=0.01)  # The mean is a tenth of the outlier.


def test_a_logarithmic_axis_needs_a_factor_of_ten():
    def middle(values, log):
        (line, *_) = points_of(svg_plots.lines("a", "A", [svg_plots.Line("", [0, 1, 2], values)], log=log).svg)
        return (line[1, 1] - line[0, 1]) / (line[2, 1] - line[0, 1])

    assert middle([1.0, 10.0, 100.0], log=True) == pytest.approx(0.5, abs=1e-3)
    assert middle([1.0, 10.0, 100.0], log=False) == pytest.approx(1 / 11, abs=1e-3)
    assert middle([1.0, 2.0, 5.0], log=True) == pytest.approx(1 / 4, abs=1e-3)
    assert middle([0.0, 10.0, 100.0], log=True) == pytest.approx(1 / 10, abs=1e-3)


def test_histograms_have_area_one_and_no_empty_ends():
    counts = {"data": [0, 0, 2, 0, 0, 0], "flowed": [0, 0, 1, 1, 0, 0], "prior": []}
    plot = svg_plots.histogram("h", "H", EDGES, counts, "log10 r")
    assert [entry.label for entry in plot.legend] == ["data", "flowed"]
    high, low = (np.ptp(points_of(plot.svg, f"var(--series-{i})")[0][:, 1]) for i in (0, 1))
    assert high == pytest.approx(2 * low, rel=1e-3)
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", plot.svg)
    assert "\N{MINUS SIGN}1.0" in labels
    assert "2.0" not in labels[: labels.index("log10 r")]


def test_more_runs_than_colours_differ_in_dashes():
    lines = [svg_plots.Line(str(i), [0, 1], [0.0, float(i)], i) for i in range(20)]
    plot = svg_plots.lines("a", "A", lines)
    assert len({(entry.colour, entry.dashes) for entry in plot.legend}) == 20
    styles = re.findall(r"stroke-dasharray: ([^;]*);[^\"]*stroke: (var\(--series-\d\))", plot.svg)
    assert len(set(styles)) == 20 - svg_plots.NUM_COLOURS  # The first lines are solid.
