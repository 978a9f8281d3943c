"""Speed, memory and a profile on one GPU or TPU, in eight minutes.

    python -m benchmarks.speed.accelerator [--out=runs/accelerator] [--minutes=8] [--torch_python=PYTHON] [--smoke]

The parts run in this order, and each is written to OUT/accelerator.json when it is done. Parts that would begin after
--minutes are left out. If a part fails, the others still run, and the exit code is 1.

- rates: an 8192^3 matrix product in bfloat16 and in float32, and memory.
- flow: TFLOP/s of the CIFAR-10 network by batch size and precision, and their share of the bfloat16 product's rate. The
  aim is 50%.
- training: seconds a step of the paper's configs with their own priors, K = 100 and batch 64; the hours of a whole run;
  peak memory. The factor of an exact prior is an array of zeros of the right size.
- samples: 50,000 samples of CIFAR-10 in K + kappa steps. The aim is 2 minutes. The time is extrapolated from a few
  batches, and marked as such, unless --all_samples.
- profile: a training step of CIFAR-10 with K = 10, by kind of operation.
- table: `python -m benchmarks`, with PyTorch if it is installed.

FLOPs are those of `floors.py`. XLA's own count is printed with them for a single flow step, because XLA counts the body
of a scan once. `--smoke` runs all parts in miniature, also on a CPU.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.common import arguments, cases
from benchmarks.common.environment import describe
from benchmarks.speed import comparison, floors, profile, timed_calls, timing
from benchmarks.speed.rates import byte_rate, flops_rate
from configs import cat2dog64
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import abstract_state, model_from_state
from fdrl_jax.inference import sampling
from fdrl_jax.methods import prior_draws, ratio_flow

PRECISIONS = ("float32", "bf16")
FLOW_BATCHES = (64, 256, 1024)
SAMPLES = 50_000
SAMPLE_BATCH = 512
# Training steps that are not counted: the first compiles, and the second shows whether that was the only compilation.
WARM_UP = 2
# Configs whose training is timed: those of `cases`, and cat2dog64.
RUNS = ("cifar10", "celeba64", "lsun128", "cat2dog64")


def rates(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the rates of matrix products and of memory."""
    measured = {
        "bf16_flops": flops_rate("bfloat16", options.smoke),
        "float32_flops": flops_rate("float32", options.smoke),
        "bytes": byte_rate(options.smoke),
    }
    print(
        f"8192^3 product: {measured['bf16_flops'] / 1e12:,.4g} TFLOP/s bfloat16, "
        f"{measured['float32_flops'] / 1e12:,.4g} float32 (XLA's default precision); "
        f"memory {measured['bytes'] / 1e9:,.4g} GB/s"
    )
    return measured


def flow(options: argparse.Namespace, results: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure the FLOP/s of the scan by batch size and precision."""
    rows = []
    for batch_size in (4,) if options.smoke else FLOW_BATCHES:
        for precision in PRECISIONS:
            num_steps = 2 if options.smoke else 20
            load = cases.Load(batch_size, num_steps, 0)
            case = cases.case("cifar10", load, precision, options.smoke)
            seconds = median(timed_calls.TimedCalls(case).flow, options.rounds) / num_steps
            flops = floors.flow_step(floors.layers(case.model, case.event_shape), batch_size).flops
            row = {
                "batch_size": batch_size,
                "precision": precision,
                "seconds": seconds,
                "flops": flops,
                "xla_flops": xla_flops(case.experiment, batch_size),
                "flops_rate": flops / seconds,
                "share_of_product": flops / seconds / results["rates"]["bf16_flops"],
            }
            rows.append(row)
            print(
                f"flow, batch {batch_size}, {precision}: {seconds * 1e3:.3f} ms a step, {flops / seconds / 1e12:.4g} "
                f"TFLOP/s, {row['share_of_product']:.1%} of the bfloat16 product (XLA counts "
                f"{row['xla_flops'] / flops:.3f} times the FLOPs)",
                flush=True,
            )
    return rows


def xla_flops(experiment: builders.Experiment, batch_size: int) -> float:
    """Return XLA's count of the FLOPs of one flow step."""
    x = jax.ShapeDtypeStruct((batch_size, *experiment.event_shape), jnp.float32)
    key, zero = jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct((), jnp.int32)
    params = abstract_state(experiment).params
    compiled = ratio_flow.advance.lower(
        cases.fdrl(experiment).recipe, params, key, x, zero, zero, num_steps=1
    ).compile()
    return float((compiled.cost_analysis() or {})["flops"])


def experiment(name: str, precision: str, smoke: bool) -> builders.Experiment:
    """Return the experiment of a config at its own batch size and K, or a tiny one for `smoke`."""
    if smoke:
        return cases.case(
            "cifar10" if name == "cat2dog64" else name, cases.SMOKE["cifar10"], precision, True
        ).experiment
    config = cat2dog64.get_config() if name == "cat2dog64" else cases.CONFIGS[name]()
    config.precision = precision
    return builders.build(config)


def training(options: argparse.Namespace, results: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure the seconds of a training step of each config, and from them the hours of a run."""
    rows = []
    for name in options.runs:
        for precision in reversed(PRECISIONS):  # bfloat16 first: its figures matter more if time runs out
            if options.over():
                print(f"training {name} {precision}: left out, the time is over")
                continue
            made = experiment(name, precision, options.smoke)
            load = made.config["data"]["batch_size"]
            method = cases.fdrl(made)
            case = cases.Case(name, made, cases.Load(load, method.recipe.num_steps, 0))
            prior, _ = builders.place_prior(builders.blank_prior(made))
            # Committed to the device like the prior. Otherwise the second step, whose state is committed, compiles
            # the program again.
            state = jax.device_put(timed_calls.settled_state(case), jax.local_devices()[0])
            root, batch = jax.random.key(0), case.batch()
            train_step = method.make_train_step()
            times = []
            for i in range(options.rounds + WARM_UP):
                drawn = prior_draws.prior_of_step(prior, root, i, load)
                start = time.perf_counter()
                state, metrics = train_step(state, drawn, root, jax.device_put(batch))
                jax.block_until_ready(metrics)
                times.append(time.perf_counter() - start)
            seconds, num_steps = statistics.median(times[WARM_UP:]), made.config["train"]["num_steps"]
            layers = floors.layers(made.config["model"], made.event_shape)
            flops = floors.train_step(layers, load, method.recipe.num_steps).flops
            row = {
                "config": name,
                "precision": precision,
                "first_steps_seconds": times[:WARM_UP],
                "seconds": seconds,
                "flops_rate": flops / seconds,
                "hours": seconds * num_steps / 3600,
                "num_steps": num_steps,
                "peak_bytes": peak_bytes(),
            }
            rows.append(row)
            print(
                f"training {name}, {precision}: {seconds:.4g} s a step, {row['flops_rate'] / 1e12:.4g} TFLOP/s, "
                f"{row['hours']:.3g} h for {num_steps:,} steps; first steps {times[0]:.0f}, {times[1]:.2g} s; "
                f"most memory so far {row['peak_bytes'] / 2**30:.1f} GiB",
                flush=True,
            )
            del state, prior, metrics
    return rows


def peak_bytes() -> int:
    """Return the peak memory of the first device so far, or 0 if the backend does not report it."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)


def samples(options: argparse.Namespace, results: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure the seconds of 50,000 samples."""
    rows = []
    for precision in reversed(PRECISIONS):
        made = experiment("cifar10", precision, options.smoke)
        prior, _ = builders.place_prior(builders.blank_prior(made))
        state = timed_calls.settled_state(cases.Case("cifar10", made, cases.Load(1, 1, 0)))
        model = model_from_state(made, state, prior)
        batch_size = 4 if options.smoke else SAMPLE_BATCH
        sampling.sample(model, 0, batch_size, batch_size=batch_size, progress=False)  # compiles
        count = SAMPLES if options.all_samples else 2 * batch_size
        start = time.perf_counter()
        for _ in sampling.batches(model, 1, count, batch_size=batch_size, progress=False):
            pass
        seconds = (time.perf_counter() - start) * SAMPLES / count
        row = {"precision": precision, "seconds": seconds, "extrapolated": count < SAMPLES, "measured": count}
        rows.append(row)
        how = f"extrapolated from {count:,}" if count < SAMPLES else "measured"
        print(f"{SAMPLES:,} samples, {precision}, batches of {batch_size}: {seconds:.4g} s ({how})", flush=True)
    return rows


def profiled(options: argparse.Namespace, results: dict[str, Any]) -> dict[str, Any]:
    """Profile a training step with K = 10."""
    load = cases.Load(4, 2, 0) if options.smoke else cases.Load(64, 10, 0)
    calls = timed_calls.TimedCalls(cases.case("cifar10", load, "bf16", options.smoke))
    jax.block_until_ready(calls.train_step())
    profile.trace(calls.train_step, options.out / "trace")
    summary = profile.summarise(profile.newest(options.out / "trace"))
    print("profile of a training step, CIFAR-10, bf16, K = 10")
    print("\n".join(profile.lines(summary)), flush=True)
    return summary


def table(options: argparse.Namespace, results: dict[str, Any]) -> dict[str, Any]:
    """Measure the table of `python -m benchmarks`."""
    flags = [f"--torch_python={options.torch_python}", "--rounds=3", *(["--smoke"] if options.smoke else [])]
    flags.append(f"--networks={','.join(options.networks)}")
    return comparison.measure(comparison.parsed(flags), stop=options.over)


PARTS: dict[str, Callable[..., Any]] = {
    "rates": lambda options, results: rates(options),
    "flow": flow,
    "training": training,
    "samples": samples,
    "profile": profiled,
    "table": table,
}


def median(function: Callable[[], Any], rounds: int) -> float:
    """Return the median seconds of `rounds` calls, after one that compiles."""
    timing.seconds(function)
    return statistics.median(timing.seconds(function) for _ in range(rounds))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=arguments.folder, default=pathlib.Path("runs/accelerator"))
    parser.add_argument("--minutes", type=arguments.not_negative, default=8, help="begin no part later than this")
    parser.add_argument("--rounds", type=arguments.count, default=3, help="measurements of each time")
    parser.add_argument(
        "--torch_python",
        type=arguments.python,
        default=sys.executable,
        help="a Python that has PyTorch; none: measure without PyTorch",
    )
    parser.add_argument(
        "--networks",
        type=arguments.names(cases.CONFIGS),
        default=",".join(cases.CONFIGS),
        help="networks of the table, separated by commas",
    )
    parser.add_argument(
        "--runs",
        type=arguments.names(RUNS),
        default=",".join(RUNS),
        help="configs whose training is timed, separated by commas",
    )
    parser.add_argument("--all_samples", action="store_true", help="make all 50,000 samples, which takes minutes")
    parser.add_argument("--smoke", action="store_true", help="all parts in miniature, to see that everything runs")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    options.over = lambda: time.monotonic() > end
    print(describe())
    results: dict[str, Any] = {"environment": describe(), "left_out": [], "failed": {}}
    for name, part in PARTS.items():
        if options.over():
            results["left_out"].append(name)
            print(f"{name}: left out, the time is over")
        else:
            try:
                results[name] = part(options, results)
            except Exception as error:  # Any error: the machine may not be available again for the other parts.
                traceback.print_exc()
                results["failed"][name] = f"{type(error).__name__}: {error}"
        (options.out / "accelerator.json").write_text(json.dumps(results, indent=1) + "\n")
    if results["failed"]:
        sys.exit(f"failed: {', '.join(results['failed'])}")


if __name__ == "__main__":
    main()
