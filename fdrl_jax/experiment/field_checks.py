"""Checks of single values, from which `schema` builds the ranges of a config's fields."""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from fdrl_jax.types import MAX_INT

# A check returns None for a valid value, and otherwise a description of valid values, which follows "must be".
Check: TypeAlias = Callable[[Any], str | None]
Fields: TypeAlias = dict[str, Check]

# The largest magnitude of a float field: float32 overflows above it.
_MAX_FLOAT = 3e38


@dataclasses.dataclass(frozen=True)
class MayBeAbsent:
    """The check of a field that a config may leave out."""

    check: Check

    def __call__(self, value: Any) -> str | None:
        return self.check(value)


def integer(minimum: int, maximum: int = MAX_INT) -> Check:
    """Return a check for an integer from `minimum` to `maximum`; booleans are refused."""

    def check(value: Any) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum:
            return None
        too_large = isinstance(value, int) and value > maximum
        return f"an integer of at {f'most {maximum}' if too_large else f'least {minimum}'}"

    return check


def number(minimum: float = -math.inf, maximum: float = math.inf, open_minimum: bool = False) -> Check:
    """Return a check for a finite number from `minimum` (excluded if `open_minimum`) to `maximum`."""

    def check(value: Any) -> str | None:
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MAX_FLOAT
        if good and value <= maximum and (value > minimum if open_minimum else value >= minimum):
            return None
        bounds = [f"{'above' if open_minimum else 'at least'} {minimum:g}"] if minimum > -math.inf else []
        bounds += [f"at most {maximum:g}"] if maximum < math.inf else []
        return " ".join(["a finite number", " and ".join(bounds)]).strip()

    return check


def one_of(*values: Any) -> Check:
    """Return a check for one of `values`, of the same type."""

    def check(value: Any) -> str | None:
        # Types are compared because True == 1 and False == 0.
        good = any(value == v and type(value) is type(v) for v in values)
        return None if good else f"one of {', '.join(map(str, values))}"

    return check


def text(description: str, allow_empty: bool = False) -> Check:
    """Return a check for a string, which must not be empty unless `allow_empty`."""

    def check(value: Any) -> str | None:
        return None if isinstance(value, str) and (value or allow_empty) else description

    return check


def part(value: Any) -> str | None:
    """Check a part of the images: a string "k/n" with k < n, which means every n-th image from the k-th on."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", value) if isinstance(value, str) else None
    return None if match and int(match[1]) < int(match[2]) else "k/n with k < n: every n-th image from the k-th on"


def optional(inner: Check) -> Check:
    """Return a check for None or a value that passes `inner`."""

    def check(value: Any) -> str | None:
        description = None if value is None else inner(value)
        return description and f"none or {description}"

    return check


def sequence(inner: Check, description: str, minimum: int = 0, length: int | None = None) -> Check:
    """Return a check for a tuple whose elements pass `inner`, with at least `minimum` or exactly `length` elements."""

    def check(value: Any) -> str | None:
        good = (
            isinstance(value, tuple)
            and len(value) >= minimum
            and (length is None or len(value) == length)
            and all(inner(v) is None for v in value)
        )
        return None if good else description

    return check


def increasing(inner: Check, description: str) -> Check:
    """Return a check for a tuple that increases strictly, and whose elements pass `inner`."""

    def check(value: Any) -> str | None:
        good = sequence(inner, description)(value) is None and list(value) == sorted(set(value))
        return None if good else description

    return check


def bounded(inner: Check, size: Callable[[Any], int], maximum: int) -> Check:
    """Return a check for a value that passes `inner`, and whose `size` is at most `maximum`."""
    return lambda value: inner(value) or (None if size(value) <= maximum else inner(None))
