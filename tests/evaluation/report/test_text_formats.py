"""Numbers as text.

Covers: `report.text_formats`.
"""

import pytest

from fdrl_jax.evaluation.report import text_formats


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (22.3456, None, "22.35"),
        (22.3456, 0.45, "22.35"),
        (22.3456, 4.5, "22.3"),
        (1234.5678, 45.0, "1,235"),
        (0.00123, 0.0002, "0.00123"),
        (0.0, None, "0"),
        (0.0, 0.01, "0.000"),
        (-0.5123456, None, "-0.5123"),
        (1e-7, None, "1.000e-07"),
        (12345, None, "12,345"),
        (float("nan"), None, "not finite"),
        (None, None, "not finite"),
    ],
)
def test_numbers_have_the_digits_that_their_interval_allows(value, spread, text):
    assert text_formats.number(value, spread) == text
