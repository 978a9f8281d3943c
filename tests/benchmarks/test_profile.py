"""Traces written by hand are summed up.

Covers: `speed.profile`.
"""

import gzip
import json

import pytest

from benchmarks.speed import profile


def write_trace(path, events):
    with gzip.open(path, "wt") as file:
        json.dump({"traceEvents": events}, file)


def test_a_trace_is_summed_up_by_kind(tmp_path):
    def name(kind, pid, tid, value):
        return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": value}}

    def event(pid, tid, start, duration, kernel, operation):
        return {"ph": "X", "pid": pid, "tid": tid, "ts": start, "dur": duration, "name": kernel,
                "args": {"hlo_op": operation}}  # fmt: skip

    path = tmp_path / "host.trace.json.gz"
    events = [
        name("process_name", 1, 0, "/device:GPU:0"),
        name("process_name", 2, 0, "/host:CPU"),
        name("thread_name", 1, 7, "Stream #7(Compute)"),
        name("thread_name", 1, 8, "XLA Ops"),  # the same operations again
        name("thread_name", 2, 1, "python"),
        event(1, 7, 0, 60, "sm90_xmma_fprop_implicit_gemm", "custom-call.1"),
        event(1, 7, 60, 20, "loop_add_fusion", "fusion.3"),
        event(1, 7, 90, 10, "nchwToNhwcKernel", "custom-call.1"),
        event(1, 8, 0, 100, "custom-call.1", "custom-call.1"),
        event(2, 1, 0, 500, "PjitFunction", "nothing"),
    ]
    write_trace(path, events)
    summary = profile.summarise(path)
    kinds = {"convolution": 60e-6, "elementwise": 20e-6, "layout and copies": 10e-6}
    assert summary["kinds"] == pytest.approx(kinds)
    assert summary["busy_share"] == pytest.approx(0.9)
    assert next(iter(summary["operations"])) == "sm90_xmma_fprop_implicit_gemm"
    assert "60%" not in profile.lines(summary)[0]
    assert any(line.split() == ["66.7%", "convolution"] for line in profile.lines(summary))


def test_time_inside_an_operation_is_counted_once(tmp_path):
    thread = {"ph": "M", "name": "thread_name", "pid": 1, "tid": 1, "args": {"name": "tf_XLAEigen"}}
    rows = [("while.1", 0, 100), ("dot.2", 10, 30), ("dot.2", 50, 30)]
    events = [{"ph": "X", "pid": 1, "tid": 1, "ts": t, "dur": d, "name": n, "args": {"hlo_op": n}} for n, t, d in rows]
    write_trace(tmp_path / "a.trace.json.gz", [thread, *events])
    summary = profile.summarise(profile.newest(tmp_path))
    assert summary["operations"] == pytest.approx({"dot.2": 60e-6, "while.1": 40e-6})
    with pytest.raises(FileNotFoundError, match="no trace"):
        profile.newest(tmp_path / "nothing")
    write_trace(tmp_path / "empty.trace.json.gz", [thread])
    with pytest.raises(ValueError, match="no operations"):
        profile.summarise(tmp_path / "empty.trace.json.gz")
