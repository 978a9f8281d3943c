"""Prefetching: results in order, how far it runs ahead, and errors."""

import threading

import pytest

from fdrl_jax import data
from fdrl_jax.types import InputError


def test_prefetch_yields_every_result_in_order():
    assert list(data.prefetch(lambda step: step**2, 3, 10)) == [step**2 for step in range(3, 10)]
    assert list(data.prefetch(lambda step: step, 5, 5)) == []


def test_prefetch_runs_ahead_by_its_depth():
    loaded, third = [], threading.Event()

    def load(step):
        loaded.append(step)
        if step == 3:
            third.set()
        return step

    results = data.prefetch(load, 0, 100, depth=2)
    assert next(results) == 0
    assert third.wait(10)  # The results of 1 and 2 wait in the queue, that of 3 in the thread.
    results.close()
    assert loaded == [0, 1, 2, 3]
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_prefetch_raises_an_error_of_load_after_the_results_before_it():
    def load(step):
        if step == 2:
            raise InputError("torn")
        return step

    results = data.prefetch(load, 0, 10)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(InputError, match="torn"):
        next(results)
