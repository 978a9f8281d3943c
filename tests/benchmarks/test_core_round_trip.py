"""The round trip between two cores.

Covers: `speed.core_round_trip`, `speed.cores`.
"""

import os

import pytest

from benchmarks.speed import core_round_trip


@pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda pid: ())(0)) < 2, reason="needs a choice of cores")
def test_a_round_trip_between_cores_is_measured():
    assert core_round_trip.round_trip() > 0.05


def test_there_is_no_round_trip_on_one_core(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert core_round_trip.round_trip() is None
