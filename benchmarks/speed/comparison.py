"""One table of the speed of training and sampling, compared with PyTorch and with the least time the machine allows.

    python -m benchmarks [--networks=toy,digits,cifar10,celeba64,lsun128] [--rounds=N] [--out=FILE.json]
                         [--torch_python=PYTHON] [--no-compile] [--precision=float32,bf16] [--smoke]

Rows for each network: flow step (one of a scan of K), training step, sampling, prior fit and draw, data pipeline (one
batch), checkpoint stall. PyTorch runs in a process of its own with --torch_python (`make bench` makes that environment)
and in two forms: `authors`, as the authors use it, and `strong`, as fast as we could make it (`pytorch/forms.py`).
Weights and inputs are the same. First the results without noise are compared, and the largest relative difference is
printed. Then come medians of runs taken in turn; a ratio above 1 says how many times as long PyTorch took. `floor` is
the time of the FLOPs and bytes that are needed (`floors.py`) at rates measured at the start, and `x floor` is our time
divided by it. Without PyTorch the table has our times alone.

Measure on an idle machine: other work on it slows PyTorch down more than us, and two cores that are far apart slow down
the toy network (`python -m benchmarks.speed.cores`). The load and the round trip between two cores are therefore
printed with each network. `--smoke` runs everything in miniature.
"""

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable
from typing import Any

import jax

from benchmarks.common import arguments, cases
from benchmarks.common.environment import describe
from benchmarks.speed.core_round_trip import round_trip
from benchmarks.speed.pytorch.process import TorchProcess, has_torch
from benchmarks.speed.rates import byte_rate, flops_rate
from benchmarks.speed.rows import rows_of
from benchmarks.speed.table import HEADER, add_floors, line


def loads(options: argparse.Namespace) -> dict[str, cases.Load]:
    """Return the load of each network that suits this machine, or the smallest with `--smoke`."""
    if options.smoke:
        return cases.SMOKE
    return cases.CPU if jax.default_backend() == "cpu" else cases.ACCELERATOR


def parsed(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options, with the defaults of those that `--smoke` changes filled in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks",
        type=arguments.names(cases.CONFIGS),
        default=",".join(cases.CONFIGS),
        help="networks to measure, separated by commas",
    )
    parser.add_argument(
        "--rounds", type=arguments.count, help="measurements of each time; 5 by default, 1 with --smoke"
    )
    parser.add_argument(
        "--data_seconds",
        type=arguments.positive,
        help="seconds that the data pipeline is measured for; 2 by default, 0.1 with --smoke",
    )
    parser.add_argument(
        "--batch_size", type=arguments.count, help="batch of every network, instead of one that suits the machine"
    )
    parser.add_argument(
        "--num_steps", type=arguments.count, help="K of every network, instead of one that suits the machine"
    )
    parser.add_argument(
        "--precision",
        type=arguments.names(("float32", "bf16")),
        default="float32,bf16",
        help="precisions of the image networks, separated by commas",
    )
    parser.add_argument(
        "--torch_python",
        type=arguments.python,
        default=sys.executable,
        help="a Python that has PyTorch; none: measure without PyTorch",
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="use torch.compile")
    parser.add_argument("--smoke", action="store_true", help="tiny networks and loads, to see that everything runs")
    parser.add_argument("--out", type=arguments.new_file, help="write the figures here, as JSON")
    options = parser.parse_args(argv)
    options.rounds = options.rounds or (1 if options.smoke else 5)
    options.data_seconds = options.data_seconds or (0.1 if options.smoke else 2.0)
    return options


def measure(options: argparse.Namespace, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Measure and print the table.

    Args:
      options: the options that `parsed` returns.
      stop: asked before each network; the network is left out if it returns True.

    Returns:
      The figures, as they are written to JSON.
    """
    print(describe())
    rates = {
        "float32_flops": flops_rate("float32", options.smoke),
        "bf16_flops": flops_rate("bfloat16", options.smoke),
        "bytes": byte_rate(options.smoke),
    }
    print(
        f"rates measured: matrix product {rates['float32_flops'] / 1e9:,.0f} GFLOP/s in float32, "
        f"{rates['bf16_flops'] / 1e9:,.0f} in bfloat16; memory {rates['bytes'] / 1e9:,.1f} GB/s"
    )
    results: dict[str, Any] = {"environment": describe(), "rates": rates, "torch": None, "rows": []}
    results |= {"load": {}, "round_trip_us": {}}
    torch = None
    if options.torch_python == "none":
        print("--torch_python=none: our times alone")
    elif has_torch(options.torch_python):
        torch = TorchProcess(options.torch_python)
        results["torch"] = torch.ask("about")
        print("PyTorch {torch}, {threads} threads, {device}".format(**results["torch"]))
    else:
        print(f"PyTorch is not installed in {options.torch_python}: our times alone. `make bench` installs it")
    try:
        for name in options.networks:
            if stop():
                print(f"{name}: left out, the time is over")
                continue
            changes = {k: getattr(options, k) for k in ("batch_size", "num_steps") if getattr(options, k)}
            load = dataclasses.replace(loads(options)[name], **changes)
            results["load"][name], results["round_trip_us"][name] = os.getloadavg()[0], round_trip()
            trip = results["round_trip_us"][name] or math.nan
            machine = f"load average {results['load'][name]:.1f}, round trip between cores {trip:.2f} us"
            print(f"{machine}; K = {load.num_steps}\n{HEADER}", flush=True)
            rows = rows_of(name, options, load, torch)
            add_floors(rows, rates)
            results["rows"] += rows
            print("\n".join(map(line, rows)), flush=True)
    finally:
        if torch is not None:
            torch.close()
    return results


def main(argv: list[str] | None = None) -> None:
    options = parsed(argv)
    results = measure(options)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
