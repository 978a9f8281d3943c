"""The rows of `python -m benchmarks`: as the JSON has them, and as they are printed."""

import statistics
from typing import Any

from benchmarks import cases, floors

BF16 = " bf16"
DRAWS = 64


def figures(
    name: str,
    row: str,
    load: cases.Load,
    times: dict[str, list[float]],
    floor: floors.Floor,
    differences: dict[str, float],
) -> dict[str, Any]:
    """One row of the table, as the JSON has it."""
    medians = {form: statistics.median(values) for form, values in times.items()}
    ratios = {
        form: value / medians["ours" + BF16 if form.endswith(BF16) else "ours"]
        for form, value in medians.items()
        if not form.startswith("ours")
    }
    return {
        "network": name,
        "row": row,
        "batch_size": DRAWS if row == "prior draw" else load.images if row == "prior fit" else load.batch_size,
        "num_steps": load.num_steps,
        "rank": load.rank,
        "seconds": medians,
        "all_seconds": times,
        "ratios": ratios,
        "differences": differences,
        "flops": floor.flops,
        "bytes": floor.bytes,
    }


def add_floors(rows: list[dict[str, Any]], rates: dict[str, float]) -> None:
    """The floor's time at measured rates, and ours over it; of the network in float32, of bf16 at its own rate."""
    for row in rows:
        row["floor_seconds"], row["over_floor"] = {}, {}
        for form, value in row["seconds"].items():
            if form.startswith("ours"):
                rate = rates["bf16_flops" if form.endswith(BF16) else "float32_flops"]
                least = floors.Floor(row["flops"], row["bytes"]).seconds(rate, rates["bytes"])
                row["floor_seconds"][form], row["over_floor"][form] = least, value / least


def line(row: dict[str, Any]) -> str:
    """A row of the printed table."""

    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    taken, ratios = row["seconds"], row["ratios"]
    times = "".join(
        f"{number(v and v * 1e3, '.4g'):>11}"
        for v in (taken.get(form) for form in ("ours", "ours" + BF16, "authors", "strong", "strong" + BF16))
    )
    against = "".join(
        f"{number(ratios.get(form), '.2f'):>{width}}"
        for form, width in (("authors", 11), ("strong", 10), ("strong" + BF16, 9))
    )
    worst = max(row["differences"].get(form, -1.0) for form in ("authors", "strong"))
    return (
        f"{row['network']:9} {row['row']:17}{row['batch_size']:>6}{times}{against}"
        f"{number(worst if worst >= 0 else None, '.1e'):>10}{row['floor_seconds']['ours'] * 1e3:>11.3g}"
        f"{row['over_floor']['ours']:>9.1f}"
    )


HEADER = (
    f"{'network':9} {'row':17}{'batch':>6}{'ours ms':>11}{'bf16':>11}{'authors ms':>11}{'strong ms':>11}{'bf16':>11}"
    f"{'authors x':>11}{'strong x':>10}{'bf16 x':>9}{'differ':>10}{'floor ms':>11}{'x floor':>9}"
)
