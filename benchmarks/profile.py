"""Where the time of a compiled call goes: a trace by jax.profiler, its operations added up by kind.

    python -m benchmarks.profile FOLDER    # of a trace that was written before

On an accelerator the events are the kernels of its streams, on a CPU the operations of XLA's threads. Events inside
other events of the same thread are counted once, by the time that is their own.
"""

import gzip
import json
import pathlib
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import jax

# Kinds by parts of a kernel's or operation's name, the first that fits; what is left is elementwise or named below.
KINDS = (
    ("convolution", r"conv|implicit|wgrad|dgrad|fprop|cudnn|winograd|cutlass.*nhwc|xmma"),
    ("matrix product", r"gemm|dot|cublas|matmul"),
    ("layout and copies", r"transpose|copy|nchw|nhwc|memcpy|pad|bitcast"),
    ("reduction", r"reduc"),
    ("random numbers", r"rng|threefry|philox|erf_inv"),
    ("elementwise", r"fusion|loop|add|mul|select|wrapped|convert|broadcast"),
)


def kind(name: str) -> str:
    """What an operation does, by its name."""
    return next((kind for kind, pattern in KINDS if re.search(pattern, name.lower())), "other")


def trace(function: Callable[[], Any], folder: pathlib.Path) -> None:
    """Run `function`, which was compiled and run before, and write its trace."""
    with jax.profiler.trace(str(folder)):
        jax.block_until_ready(function())


def newest(folder: pathlib.Path) -> pathlib.Path:
    """The last trace in a folder of `trace`.

    Raises:
      FileNotFoundError: there is none.
    """
    found = sorted(folder.rglob("*.trace.json.gz"))
    if not found:
        raise FileNotFoundError(f"no trace in {folder}")
    return found[-1]


def summarise(path: pathlib.Path, top: int = 15) -> dict[str, Any]:
    """Seconds by kind and of the longest operations; the share of the traced time in which an operation ran.

    Raises:
      ValueError: the trace has no operations.
    """
    with gzip.open(path, "rt") as file:
        events = json.load(file)["traceEvents"]
    threads = _operation_threads(events)
    rows = [e for e in events if e.get("ph") == "X" and (e["pid"], e.get("tid")) in threads and "dur" in e]
    rows = [e for e in rows if "hlo_op" in e.get("args", {})] or rows
    if not rows:
        raise ValueError(f"{path} has no operations")
    own = _own_times(rows)
    names: dict[str, float] = defaultdict(float)
    kinds: dict[str, float] = defaultdict(float)
    for event, seconds in zip(rows, own, strict=True):
        operation = event.get("args", {}).get("hlo_op", event["name"])
        # A fusion's or a custom call's kernel says more than its number.
        label = event["name"] if operation.startswith(("fusion", "custom-call", "loop")) else operation
        names[label] += seconds
        kinds[kind(f"{event['name']} {operation}")] += seconds
    start, end = min(e["ts"] for e in rows), max(e["ts"] + e["dur"] for e in rows)
    return {
        "traced_seconds": (end - start) / 1e6,
        "busy_share": _covered([(e["ts"], e["ts"] + e["dur"]) for e in rows]) / (end - start),
        "kinds": dict(sorted(kinds.items(), key=lambda item: -item[1])),
        "operations": dict(sorted(names.items(), key=lambda item: -item[1])[:top]),
    }


def _operation_threads(events: list[dict[str, Any]]) -> set[tuple[int, int | None]]:
    """Those of a device, or where there is none, of XLA on the host."""

    def named(kind: str) -> dict[tuple[int, int | None], str]:
        return {(e["pid"], e.get("tid")): e["args"]["name"] for e in events if e.get("name") == kind}

    processes = {pid: name for (pid, _), name in named("process_name").items()}
    threads = named("thread_name")
    devices = {pid for pid, name in processes.items() if "/device:" in name}
    of_device = {thread for thread in threads if thread[0] in devices}
    streams = {thread for thread in of_device if "stream" in threads[thread].lower()}
    return streams or of_device or {thread for thread, name in threads.items() if "xla" in name.lower()}


def _own_times(events: list[dict[str, Any]]) -> list[float]:
    """Seconds of each event without those of the events inside it."""
    own = [e["dur"] / 1e6 for e in events]
    order = sorted(
        range(len(events)), key=lambda i: (events[i]["pid"], events[i].get("tid", 0), events[i]["ts"], -own[i])
    )
    open_: list[int] = []
    for i in order:
        event = events[i]
        while open_ and not _inside(event, events[open_[-1]]):
            open_.pop()
        if open_:
            own[open_[-1]] -= event["dur"] / 1e6
        open_.append(i)
    return own


def _inside(event: dict[str, Any], other: dict[str, Any]) -> bool:
    same = (event["pid"], event.get("tid")) == (other["pid"], other.get("tid"))
    return same and event["ts"] + event["dur"] <= other["ts"] + other["dur"] + 1e-3


def _covered(spans: list[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, end = 0.0, float("-inf")
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


def lines(summary: dict[str, Any]) -> list[str]:
    """For a reader."""
    total = sum(summary["kinds"].values())
    return [
        f"traced {summary['traced_seconds'] * 1e3:.2f} ms, an operation running in {summary['busy_share']:.0%} of it",
        *(f"  {seconds / total:6.1%}  {kind}" for kind, seconds in summary["kinds"].items()),
        "longest operations:",
        *(f"  {seconds / total:6.1%}  {name[:100]}" for name, seconds in summary["operations"].items()),
    ]


if __name__ == "__main__":
    print("\n".join(lines(summarise(newest(pathlib.Path(sys.argv[1]))))))
