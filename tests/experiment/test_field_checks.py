"""Checks of single values: the ranges that they accept, and their descriptions of valid values."""

import pytest

from fdrl_jax.experiment.field_checks import (
    MayBeAbsent,
    bounded,
    increasing,
    integer,
    number,
    one_of,
    optional,
    part,
    sequence,
    text,
)

LAYERS = sequence(integer(1), "layers", minimum=1)


@pytest.mark.parametrize(
    ("check", "values"),
    [
        (integer(1, 5), [1, 5]),
        (number(0, 1), [0, 1, 0.5]),
        (number(open_minimum=True), [-3e38, 3e38]),
        (one_of(1, "a", True), [1, "a", True]),
        (text("a text"), ["x"]),
        (text("a text", allow_empty=True), [""]),
        (part, ["0/1", "2/3"]),
        (optional(integer(1)), [None, 1]),
        (LAYERS, [(1,), (3, 2)]),
        (increasing(integer(1), "steps"), [(), (1, 2)]),
        (bounded(LAYERS, len, 2), [(1, 1)]),
        (MayBeAbsent(integer(1)), [1]),
    ],
)
def test_a_value_in_range_is_accepted(check, values):
    assert [check(value) for value in values] == [None] * len(values)


@pytest.mark.parametrize(
    ("check", "values", "description"),
    [
        (integer(1, 5), [0, True, 1.0, "1", None], "an integer of at least 1"),
        (integer(1, 5), [6], "an integer of at most 5"),
        (integer(1), [2**31], "an integer of at most 2147483647"),
        (number(0, 1), [-0.1, 1.1, True, "0", float("nan")], "a finite number at least 0 and at most 1"),
        (number(0, open_minimum=True), [0, float("inf")], "a finite number above 0"),
        (number(), [1e39, -1e39], "a finite number"),
        (one_of(1, False), [True, 0, 1.0, None], "one of 1, False"),
        (text("a text"), ["", 1], "a text"),
        (part, ["1/1", "0", "-1/2", "0/1 ", 0, "1/9999999999"], "k/n with k < n: every n-th image from the k-th on"),
        (optional(integer(1)), [0], "none or an integer of at least 1"),
        (LAYERS, [(), [1], (0,), 1], "layers"),
        (sequence(number(), "a pair", length=2), [(1.0,), (1.0, 2.0, 3.0)], "a pair"),
        (increasing(integer(1), "steps"), [(2, 1), (1, 1), (0, 1), [1]], "steps"),
        (bounded(LAYERS, len, 2), [(1, 1, 1), (), 1], "layers"),
        (MayBeAbsent(integer(1)), [0], "an integer of at least 1"),
    ],
)
def test_a_value_out_of_range_gets_a_description_of_valid_ones(check, values, description):
    assert [check(value) for value in values] == [description] * len(values)
