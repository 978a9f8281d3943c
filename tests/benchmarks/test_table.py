"""The rows of the table.

Covers: `speed.table`.
"""

from benchmarks.common import cases
from benchmarks.speed import floors, table


def test_ratios_say_how_many_times_as_long_pytorch_took():
    times = {"ours": [1.0, 3.0, 2.0], "authors": [5.0], "ours bf16": [1.0], "strong bf16": [0.5]}
    row = table.figures("toy", "flow step", cases.Load(4, 2, 0), times, floors.Floor(1, 1), {"authors": 1e-6})
    assert row["seconds"]["ours"] == 2
    assert row["ratios"] == {"authors": 2.5, "strong bf16": 0.5}


def test_the_json_becomes_the_table_of_the_docs():
    row = table.figures(
        "cifar10", "prior fit", cases.Load(4, 2, 16, rank=3), {"ours": [0.2], "authors": [0.5], "strong bf16": [0.1]},
        floors.Floor(2e9, 1e6), {"authors": 2e-6},
    )  # fmt: skip
    rates = {"float32_flops": 2e10, "bf16_flops": 4e10, "bytes": 1e9}
    table.add_floors([row], rates)
    results = {
        "environment": "here",
        "torch": {"torch": "2", "threads": 4},
        "load": {"cifar10": 0.1},
        "round_trip_us": {"cifar10": 0.25},
        "rates": rates,
        "rows": [row],
    }
    head, *_, last = table.markdown(results)
    assert "here; PyTorch 2, 4 threads. Load average before each network: cifar10 0.1; " in head
    assert "; round trip between the cores 0.25 us. Rates: " in head
    cells = ["cifar10, 16, 2", "prior fit, rank 3", "2", "1", "100", "200", "2", "2.50", "0.50 bf16", "2e-06"]
    assert last == f"| {' | '.join(cells)} |"
