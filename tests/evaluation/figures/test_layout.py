"""Pages: the picture is unchanged in them, and titles, captions and labels are in their places.

Covers: `figures.layout`.
"""

import numpy as np
import pytest
from picture_checks import contains

from fdrl_jax.evaluation.figures import layout

PICTURE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(30, 40), (30, 900)])
def test_a_page_holds_the_picture_and_the_texts_inside_its_margins(size):
    picture = np.resize(PICTURE, (*size, 3))
    page = layout.framed(picture, "A title " * 30, "And a caption. " * 60)
    assert contains(page, picture)
    assert (page[:, :8] == 255).all()
    assert (page[:, -8:] == 255).all()
    assert page.shape[0] > layout.framed(picture, "A title", "And a caption.").shape[0] + 50


def test_labels_are_over_their_columns():
    strip = layout.column_labels(400, ["", "x", "", "y"])
    dark = (strip < 128).any(axis=(0, 2)).nonzero()[0]
    assert len(dark)
    assert all(abs(x - 150) < 8 or abs(x - 350) < 8 for x in dark)
    assert {x > 200 for x in dark.tolist()} == {True, False}
