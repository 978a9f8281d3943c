"""The time of a compiled call by kind of operation, from a trace by jax.profiler.

    python -m benchmarks.speed.profile FOLDER    # sums up the last trace in FOLDER

On an accelerator the events are the kernels of its streams, on a CPU the operations of XLA's threads. The time of an
event inside another event of the same thread is subtracted from that of the outer one, so nothing is counted twice.
"""

import argparse
import gzip
import json
import pathlib
import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import jax

# The kind of an operation is the first whose pattern matches the name of the kernel or operation; "other" if none does.
KINDS = (
    ("convolution", r"conv|implicit|wgrad|dgrad|fprop|cudnn|winograd|cutlass.*nhwc|xmma"),
    ("matrix product", r"gemm|dot|cublas|matmul"),
    ("layout and copies", r"transpose|copy|nchw|nhwc|memcpy|pad|bitcast"),
    ("reduction", r"reduc"),
    ("random numbers", r"rng|threefry|philox|erf_inv"),
    ("elementwise", r"fusion|loop|add|mul|select|wrapped|convert|broadcast"),
)


def kind(name: str) -> str:
    """Return the kind of the operation of this name."""
    return next((kind for kind, pattern in KINDS if re.search(pattern, name.lower())), "other")


def trace(function: Callable[[], Any], folder: pathlib.Path) -> None:
    """Run `function`, which must have been compiled and run before, and write its trace to `folder`."""
    with jax.profiler.trace(str(folder)):
        jax.block_until_ready(function())


def newest(folder: pathlib.Path) -> pathlib.Path:
    """Return the last trace that `trace` wrote to `folder`.

    Raises:
      FileNotFoundError: the folder has no trace.
    """
    traces = sorted(folder.rglob("*.trace.json.gz"))
    if not traces:
        raise FileNotFoundError(f"no trace in {folder}")
    return traces[-1]


def summarise(path: pathlib.Path, top: int = 15) -> dict[str, Any]:
    """Sum up a trace.

    Args:
      path: a .trace.json.gz.
      top: number of operations to list by name.

    Returns:
      "traced_seconds": time from the first operation to the end of the last; "busy_share": share of it in which an
      operation ran; "kinds": seconds by kind; "operations": seconds of the `top` longest operations by name.

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
        # Fusions and custom calls are only numbered; the name of their kernel says what they do.
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
    """Return (process, thread) of the threads that run operations: a device's, or XLA's on the host without one."""

    def named(kind: str) -> dict[tuple[int, int | None], str]:
        return {(e["pid"], e.get("tid")): e["args"]["name"] for e in events if e.get("name") == kind}

    processes = {pid: name for (pid, _), name in named("process_name").items()}
    threads = named("thread_name")
    devices = {pid for pid, name in processes.items() if "/device:" in name}
    of_device = {thread for thread in threads if thread[0] in devices}
    streams = {thread for thread in of_device if "stream" in threads[thread].lower()}
    return streams or of_device or {thread for thread, name in threads.items() if "xla" in name.lower()}


def _own_times(events: list[dict[str, Any]]) -> list[float]:
    """Return the seconds of each event without those of the events inside it."""
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
    """Return the length of the union of intervals."""
    total, end = 0.0, float("-inf")
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


def lines(summary: dict[str, Any]) -> list[str]:
    """Return the lines to print of a summary."""
    total = sum(summary["kinds"].values())
    return [
        f"traced {summary['traced_seconds'] * 1e3:.2f} ms, an operation running in {summary['busy_share']:.0%} of it",
        *(f"  {seconds / total:6.1%}  {kind}" for kind, seconds in summary["kinds"].items()),
        "longest operations:",
        *(f"  {seconds / total:6.1%}  {name[:100]}" for name, seconds in summary["operations"].items()),
    ]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, metavar="FOLDER", help="a folder that jax.profiler wrote")
    print("\n".join(lines(summarise(newest(parser.parse_args(argv).folder)))))


if __name__ == "__main__":
    main()
