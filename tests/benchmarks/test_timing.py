"""The order and number of timed runs.

Covers: `speed.timing`.
"""

from benchmarks.speed import timing


def test_runs_are_taken_in_turn_and_the_first_does_not_count():
    order = []

    def run(name, times):
        return lambda: order.append(name) or times.pop(0)

    times = timing.interleaved({"a": run("a", [9.0, 1.0, 2.0]), "b": run("b", [8.0, 3.0, 4.0])}, rounds=2)
    assert order == ["a", "b"] * 3
    assert times == {"a": [1.0, 2.0], "b": [3.0, 4.0]}
