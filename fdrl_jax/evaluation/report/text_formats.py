"""Numbers, names and fields as the text that a page shows."""

import json
import math
from typing import Any

LOWER_IS_BETTER = ("frechet", "kid", "sliced_wasserstein")
HIGHER_IS_BETTER = ("precision", "recall", "density", "coverage")


def number(value: float | int | None, spread: float | None = None) -> str:
    """Return a number as text: to two digits of `spread` (half the width of an interval), else to four digits.

    Args:
      value: the number; None stands for one that is not finite.
      spread: half the width of its interval; None if there is no interval.
    """
    if value is None or not math.isfinite(value):
        return "not finite"
    if isinstance(value, int):
        return f"{value:,}"
    size = max(abs(value), spread or 0)
    if size and not 1e-3 <= size < 1e7:
        return f"{value:.3e}"
    if spread and math.isfinite(spread):
        decimals = 1 - math.floor(math.log10(spread))
    else:
        decimals = 3 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{min(max(decimals, 0), 8)}f}"


def estimate(record: dict[str, Any]) -> tuple[str, str]:
    """Return the value of an evaluation result and its interval ("" if it has none), with the same decimals.

    Args:
      record: a line of evaluation.jsonl.
    """
    low, high = record.get("interval") or (None, None)
    if low is None or high is None:
        return number(record["value"]), ""
    spread = abs(high - low) / 2
    return number(record["value"], spread), f"[{number(low, spread)}, {number(high, spread)}]"


def confidence(record: dict[str, Any]) -> str:
    """Return the confidence level of an evaluation result, such as "95%"; "" if the line has none."""
    return f"{100 * record['confidence']:g}%" if record.get("confidence") is not None else ""


def metric_name(record: dict[str, Any]) -> str:
    """Return the metric of an evaluation result, such as "FID (frechet, inception)" or "precision (lite0)"."""
    metric, features = record["metric"].replace("_", " "), record.get("features", "")
    name = record.get("name")
    if name:
        return f"{name.upper()} ({', '.join(filter(None, [metric, features]))})"
    return f"{metric} ({features})" if features else metric


def better(metric: str) -> str:
    """Return which values of a metric are better, as a sentence; "" if that is unknown."""
    if metric in LOWER_IS_BETTER:
        return "Lower is better"
    return "Higher is better" if metric in HIGHER_IS_BETTER else ""


def duration(seconds: float | int) -> str:
    """Return a time as text, such as "3.2 s", "10 min" or "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def sentences(*parts: str) -> str:
    """Join texts as sentences. A text may lack its full stop; an empty one is left out."""
    return " ".join(part.strip().rstrip(".") + "." for part in parts if part.strip())


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the fields of nested groups by dotted name, with their values as JSON; strings have no quotes."""
    fields: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, dict) and value:
            fields |= flat(value, f"{prefix}{name}.")
        else:
            fields[f"{prefix}{name}"] = value if isinstance(value, str) and value else json.dumps(value)
    return fields
