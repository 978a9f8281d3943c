"""The rows of `python -m benchmarks`: their form in JSON, and as lines of text and of Markdown.

python -m benchmarks.speed.table FILE.json    # prints the table of docs/performance.md
"""

import argparse
import json
import math
import pathlib
import statistics
from typing import Any

from benchmarks.common import cases
from benchmarks.speed import floors

# Measured forms are named "ours", "authors" and "strong", with BF16 at the end where the network is in bfloat16.
BF16 = " bf16"
DRAWS = 64  # draws from the prior in one call
COLUMNS = (
    *("network, batch, K", "row", "GFLOP", "MB", "floor ms", "ours ms", "over floor", "authors' form", "strong form"),
    "differ",
)


def figures(
    name: str,
    row: str,
    load: cases.Load,
    times: dict[str, list[float]],
    floor: floors.Floor,
    differences: dict[str, float],
) -> dict[str, Any]:
    """Return one row of the table, as it is written to JSON.

    Args:
      name: name of the network.
      row: name of the row.
      load: the size of the work.
      times: measured seconds by form.
      floor: the FLOPs and bytes that the row needs.
      differences: largest relative difference of PyTorch's results from ours, by form.
    """
    medians = {form: statistics.median(values) for form, values in times.items()}
    ratios = {
        form: value / medians["ours" + BF16 if form.endswith(BF16) and "ours" + BF16 in medians else "ours"]
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
    """Add to each row the time of its floor, and our times divided by it.

    Args:
      rows: the rows that `figures` returns; changed in place.
      rates: measured "float32_flops", "bf16_flops" and "bytes" per second. FLOPs count at the rate of the precision.
    """
    for row in rows:
        row["floor_seconds"], row["over_floor"] = {}, {}
        for form, value in row["seconds"].items():
            if form.startswith("ours"):
                rate = rates["bf16_flops" if form.endswith(BF16) else "float32_flops"]
                least = floors.Floor(row["flops"], row["bytes"]).seconds(rate, rates["bytes"])
                row["floor_seconds"][form], row["over_floor"][form] = least, value / least


def line(row: dict[str, Any]) -> str:
    """Return a row as a line of text, under `HEADER`."""

    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    seconds, ratios = row["seconds"], row["ratios"]
    times = "".join(
        f"{number(v and v * 1e3, '.4g'):>11}"
        for v in (seconds.get(form) for form in ("ours", "ours" + BF16, "authors", "strong", "strong" + BF16))
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


def markdown(results: dict[str, Any]) -> list[str]:
    """Return the lines of the Markdown table in docs/performance.md, from the contents of the JSON file."""
    torch = results["torch"] or {}
    against = ", ".join(
        f"PyTorch {torch[k]}" if k == "torch" else f"{torch[k]} {k}" for k in ("torch", "threads") if torch
    )
    loads = ", ".join(f"{name} {load:.1f}" for name, load in results["load"].items())
    trips = ", ".join(f"{trip or math.nan:.2f}" for trip in results["round_trip_us"].values())
    rates = results["rates"]
    lines = [
        f"{results['environment']}; {against or 'without PyTorch'}. Load average before each network: {loads}; "
        f"round trip between the cores {trips} us. Rates: "
        f"{rates['float32_flops'] / 1e9:.0f} GFLOP/s in float32, {rates['bf16_flops'] / 1e9:.0f} in bfloat16, "
        f"{rates['bytes'] / 1e9:.1f} GB/s.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"| {' | '.join('---' for _ in COLUMNS)} |",
    ]
    for row in results["rows"]:
        ratios, differences = row["ratios"], row["differences"]
        strong = [f"{ratios[form]:.2f}{form.removeprefix('strong')}" for form in ratios if form.startswith("strong")]
        worst = max((differences[form] for form in ("authors", "strong") if form in differences), default=None)
        cells = [
            f"{row['network']}, {row['batch_size']}, {row['num_steps']}",
            row["row"] + (f", rank {row['rank']}" if row["rank"] and "prior" in row["row"] else ""),
            f"{row['flops'] / 1e9:.4g}",
            f"{row['bytes'] / 1e6:.3g}",
            f"{row['floor_seconds']['ours'] * 1e3:.3g}",
            f"{row['seconds']['ours'] * 1e3:.4g}",
            f"{row['over_floor']['ours']:.3g}",
            f"{ratios['authors']:.2f}" if "authors" in ratios else "-",
            ", ".join(strong) or "-",
            "-" if worst is None else f"{worst:.0e}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path, metavar="FILE.json", help="written by `python -m benchmarks --out`")
    file = parser.parse_args(argv).file
    try:
        lines = markdown(json.loads(file.read_text()))
    except OSError as error:
        parser.error(f"FILE.json: {file}: {error.strerror}")
    except (ValueError, LookupError, TypeError, AttributeError):  # not JSON, or JSON of another structure
        parser.error(f"FILE.json: {file} was not written by `python -m benchmarks --out`")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
