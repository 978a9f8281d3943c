"""Both pages in a real browser: no errors, no requests, no scripts, and a layout for phones and for desktops."""

import re

import browser
import numpy as np
import pytest

from fdrl_jax.evaluation.report import write_comparison, write_report


def check(shown, width):
    """Refuse errors, requests and scripts, and content that does not fit into `width` pixels."""
    assert shown["trouble"] == []
    assert shown["requests"] == []
    assert shown["console"] == []
    assert shown["scripts"] == 0
    assert shown["width"] == width
    assert shown["contentWidth"] <= width
    assert shown["images"]
    assert all(image["natural"] > 0 and image["alt"] for image in shown["images"])
    assert all(0 < image["shown"] <= width for image in shown["images"])
    assert min(shown["plots"]) >= 300  # A phone is 390 pixels wide.
    assert shown["plotText"] >= 10
    assert len(shown["ids"]) == len(set(shown["ids"]))
    levels = [int(tag[1]) for tag, _ in shown["headings"]]
    assert levels[0] == 1
    assert levels.count(1) == 1


def brightness(colour):
    return np.mean([float(part) for part in re.findall(r"[\d.]+", colour)[:3]])


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, False), (390, True)])
def test_a_report_in_a_browser(full, tmp_path, width, dark):
    shown = browser.inspect(write_report(full), width, tmp_path, dark)
    check(shown, width)
    assert len(shown["images"]) == 3
    assert len(shown["plots"]) == 10
    if width == 390:  # The table of metrics is wider than a phone and scrolls in its box.
        assert any(box["inside"] > box["shown"] for box in shown["boxes"])
    light_page, light_ink = brightness(shown["background"]) > 200, brightness(shown["ink"]) > 200
    assert (light_page, light_ink) == (not dark, dark)
    assert len(set(shown["lines"])) <= 2  # One colour, and "none" for areas.


@pytest.mark.parametrize("width", [390, 1280])
def test_a_comparison_in_a_browser(two, tmp_path, width):
    long = two[1].rename(two[1].parent / ("long" * 30))
    shown = browser.inspect(write_comparison([two[0], long], tmp_path / "c.html"), width, tmp_path)
    check(shown, width)
    assert len(shown["images"]) == 2


def test_the_browser_reports_what_is_wrong(tmp_path):
    """Every kind of trouble that `check` refuses would be in the result of `inspect`."""
    page_with_trouble = tmp_path / "bad.html"
    page_with_trouble.write_text(
        """<!doctype html><html><head><meta http-equiv="Content-Security-Policy"
        content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"></head>
        <body><h1 id="a">x</h1><p id="a"></p><div style="width: 800px">wide</div>
        <img alt="outside" src="http://127.0.0.1:9/x.png"><img alt="damaged" src="data:image/png;base64,AAAA">
        </body></html>"""
    )
    shown = browser.inspect(page_with_trouble, 390, tmp_path)
    assert shown["width"] == 390
    assert shown["contentWidth"] >= 800
    assert any("violation: http://127.0.0.1:9/x.png" in line for line in shown["trouble"])
    assert any("error: " in line and "damaged" in line for line in shown["trouble"])
    assert [image["natural"] for image in shown["images"]] == [0, 0]
    assert any("127.0.0.1:9" in line for line in shown["console"])
