"""What one GPU or TPU makes of it, in eight minutes and one command.

    python -m benchmarks.accelerator [--out=runs/accelerator] [--minutes=8] [--torch_python=PYTHON] [--smoke]

In this order, each part written to OUT/accelerator.json when it is done and left out where the time is over; where one
fails, the others go on, and the exit code is 1:

- rates: an 8192^3 bfloat16 matrix product, the same in float32, and memory.
- flow: the CIFAR-10 network by batch and precision; TFLOP/s, and the share of the bfloat16 product's. Aim: 50%.
- training: seconds a step of the paper's configs with their own priors, K = 100 and batch 64; implied hours; the most
  memory that was in use. An exact prior's factor is zeros of its size.
- samples: 50,000 of CIFAR-10, K + kappa steps. Aim: 2 minutes. Extrapolated from a few batches, and marked so, unless
  --all_samples.
- profile: of a training step of CIFAR-10 with K = 10, by kind of operation.
- table: `python -m benchmarks`, beside PyTorch where there is one.

FLOPs are those of `floors.py`. XLA's own count of a flow step is beside them (of one step alone: XLA counts the body of
a scan once). `--smoke` runs all parts in miniature, on a CPU too.
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

from benchmarks import __main__ as table
from benchmarks import arguments, cases, floors, ours, profile
from benchmarks.environment import describe
from benchmarks.rates import byte_rate, flops_rate
from configs import cat2dog64
from fdrl_jax import builders, sampling, steps

PRECISIONS = ("float32", "bf16")
FLOW_BATCHES = (64, 256, 1024)
SAMPLES = 50_000
SAMPLE_BATCH = 512
# Training steps that are not counted: the first compiles, and the second shows whether that was all.
WARM_UP = 2
# The paper's runs: those of `cases`, and cat2dog64.
RUNS = ("cifar10", "celeba64", "lsun128", "cat2dog64")


def rates(options: argparse.Namespace) -> dict[str, Any]:
    found = {
        "bf16_flops": flops_rate("bfloat16", options.smoke),
        "float32_flops": flops_rate("float32", options.smoke),
        "bytes": byte_rate(options.smoke),
    }
    print(
        f"8192^3 product: {found['bf16_flops'] / 1e12:,.4g} TFLOP/s bfloat16, {found['float32_flops'] / 1e12:,.4g} "
        f"float32 (XLA's default precision); memory {found['bytes'] / 1e9:,.4g} GB/s"
    )
    return found


def flow(options: argparse.Namespace, found: dict[str, Any]) -> list[dict[str, Any]]:
    """TFLOP/s of the scan, by batch and precision."""
    rows = []
    for batch_size in (4,) if options.smoke else FLOW_BATCHES:
        for precision in PRECISIONS:
            num_steps = 2 if options.smoke else 20
            load = cases.Load(batch_size, num_steps, 0)
            case = cases.case("cifar10", load, precision, options.smoke)
            seconds = median(ours.Ours(case).flow, options.rounds) / num_steps
            flops = floors.flow_step(floors.layers(case.model, case.event_shape), batch_size).flops
            row = {
                "batch_size": batch_size,
                "precision": precision,
                "seconds": seconds,
                "flops": flops,
                "xla_flops": xla_flops(case.experiment, batch_size),
                "flops_rate": flops / seconds,
                "share_of_product": flops / seconds / found["rates"]["bf16_flops"],
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
    """XLA's count of one flow step."""
    x = jax.ShapeDtypeStruct((batch_size, *experiment.event_shape), jnp.float32)
    key, zero = jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct((), jnp.int32)
    params = sampling.abstract_state(experiment).params
    compiled = steps.advance.lower(experiment.recipe, params, key, x, zero, zero, num_steps=1).compile()
    return float((compiled.cost_analysis() or {})["flops"])


def experiment(name: str, precision: str, smoke: bool) -> builders.Experiment:
    """A config of the paper at its own batch and K; of a smoke run, tiny."""
    if smoke:
        return cases.case(
            "cifar10" if name == "cat2dog64" else name, cases.SMOKE["cifar10"], precision, True
        ).experiment
    config = cat2dog64.get_config() if name == "cat2dog64" else cases.CONFIGS[name]()
    config.precision = precision
    return builders.build(config)


def training(options: argparse.Namespace, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Seconds a step and the hours of the run."""
    rows = []
    for name in options.runs:
        for precision in reversed(PRECISIONS):  # bfloat16 first: of it there should be figures if time runs out.
            if options.over():
                print(f"training {name} {precision}: left out, the time is over")
                continue
            made = experiment(name, precision, options.smoke)
            load = made.config["data"]["batch_size"]
            case = cases.Case(name, made, cases.Load(load, made.recipe.num_steps, 0))
            prior, _ = builders.place_prior(builders.blank_prior(made))
            # Put there, as the prior is: a state that is not would be compiled for twice.
            state = jax.device_put(ours.initial_state(case), jax.local_devices()[0])
            root, batch = jax.random.key(0), case.batch()
            train_step = steps.make_train_step(made.recipe, made.optimizer)
            times = []
            for i in range(options.rounds + WARM_UP):
                drawn = steps.prior_of_step(prior, root, i, load)
                begin = time.perf_counter()
                state, metrics = train_step(state, drawn, root, jax.device_put(batch))
                jax.block_until_ready(metrics)
                times.append(time.perf_counter() - begin)
            seconds, num_steps = statistics.median(times[WARM_UP:]), made.config["train"]["num_steps"]
            table_ = floors.layers(made.config["model"], made.event_shape)
            flops = floors.train_step(table_, load, made.recipe.num_steps).flops
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
    """The most memory in use so far on the first device; 0 where the backend does not say."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)


def samples(options: argparse.Namespace, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Seconds of 50,000 samples."""
    rows = []
    for precision in reversed(PRECISIONS):
        made = experiment("cifar10", precision, options.smoke)
        prior, _ = builders.place_prior(builders.blank_prior(made))
        state = ours.initial_state(cases.Case("cifar10", made, cases.Load(1, 1, 0)))
        model = sampling.trained(made, state, prior)
        batch_size = 4 if options.smoke else SAMPLE_BATCH
        sampling.sample(model, 0, batch_size, batch_size=batch_size, progress=False)  # Compiles.
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


def profiled(options: argparse.Namespace, found: dict[str, Any]) -> dict[str, Any]:
    """A training step with K = 10."""
    load = cases.Load(4, 2, 0) if options.smoke else cases.Load(64, 10, 0)
    made = ours.Ours(cases.case("cifar10", load, "bf16", options.smoke))
    jax.block_until_ready(made.train_step())
    profile.trace(made.train_step, options.out / "trace")
    summary = profile.summarise(profile.newest(options.out / "trace"))
    print("profile of a training step, CIFAR-10, bf16, K = 10")
    print("\n".join(profile.lines(summary)), flush=True)
    return summary


def whole_table(options: argparse.Namespace, found: dict[str, Any]) -> dict[str, Any]:
    flags = [f"--torch_python={options.torch_python}", "--rounds=3", *(["--smoke"] if options.smoke else [])]
    flags.append(f"--networks={','.join(options.networks)}")
    return table.measure(table.parsed(flags), stop=options.over)


PARTS: dict[str, Callable[..., Any]] = {
    "rates": lambda options, found: rates(options),
    "flow": flow,
    "training": training,
    "samples": samples,
    "profile": profiled,
    "table": whole_table,
}


def median(function: Callable[[], Any], rounds: int) -> float:
    ours.seconds(function)
    return statistics.median(ours.seconds(function) for _ in range(rounds))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=arguments.folder, default=pathlib.Path("runs/accelerator"))
    parser.add_argument(
        "--minutes", type=arguments.not_negative, default=8, help="after which no further part is begun"
    )
    parser.add_argument("--rounds", type=arguments.count, default=3)
    parser.add_argument(
        "--torch_python",
        type=arguments.python,
        default=sys.executable,
        help="a Python that has PyTorch; none: without it",
    )
    parser.add_argument(
        "--networks", type=arguments.names(cases.CONFIGS), default=",".join(cases.CONFIGS), help="of the table"
    )
    parser.add_argument("--runs", type=arguments.names(RUNS), default=",".join(RUNS), help="whose training is timed")
    parser.add_argument("--all_samples", action="store_true", help="make all 50,000, which alone takes minutes")
    parser.add_argument("--smoke", action="store_true", help="all parts in miniature")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    options.over = lambda: time.monotonic() > end
    print(describe())
    found: dict[str, Any] = {"environment": describe(), "left_out": [], "failed": {}}
    for name, part in PARTS.items():
        if options.over():
            found["left_out"].append(name)
            print(f"{name}: left out, the time is over")
        else:
            try:
                found[name] = part(options, found)
            except Exception as error:  # Whatever it is: the machine may not be had again for the other parts.
                traceback.print_exc()
                found["failed"][name] = f"{type(error).__name__}: {error}"
        (options.out / "accelerator.json").write_text(json.dumps(found, indent=1) + "\n")
    if found["failed"]:
        sys.exit(f"failed: {', '.join(found['failed'])}")


if __name__ == "__main__":
    main()
