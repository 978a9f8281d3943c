"""`python -m benchmarks` and `python -m benchmarks.accelerator` in miniature, and the floors they compare with."""

import dataclasses
import gzip
import json
import math
import os
import pathlib
import re
import subprocess

import jax
import numpy as np
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import (
    accelerator,
    cases,
    cores,
    floors,
    flow,
    kernels,
    microbatch,
    noise,
    ours,
    profile,
    scaling,
    table,
)
from fdrl_jax import plan

ROOT = pathlib.Path(__file__).parent.parent

# One block with a shortcut and one without, on 4x4x2.
TINY = {"name": "resnet", "stem": 3, "stages": ((5, 2, 2),)}


@pytest.fixture
def fast_rates(monkeypatch):
    """Rates that are not measured."""
    for module in (benchmarks, accelerator):
        monkeypatch.setattr(module, "flops_rate", lambda dtype, small: {"float32": 2e9, "bfloat16": 4e9}[dtype])
        monkeypatch.setattr(module, "byte_rate", lambda small: 1e9)


def test_layers_are_those_computed_by_hand():
    found = floors.layers(TINY, (4, 4, 2))
    # A 3x3 kernel on 4x4: 16 outputs of 9 products each, without those of the padding: 10 of 12 a row, 10 of 12 rows.
    # With stride 2 the windows start at -1 and 1: 2 + 3 products, the last window being whole. On 2x2: 2 + 2.
    stem, conv1, conv2, shortcut, conv3, conv4, head = found
    assert stem == floors.Layer(10 * 10 * 2 * 3, 9 * 2 * 3, 4 * 4 * 2, 4 * 4 * 3)
    assert conv1 == floors.Layer(5 * 5 * 3 * 5, 9 * 3 * 5, 4 * 4 * 3, 2 * 2 * 5)
    assert conv2 == conv3 == conv4 == floors.Layer(4 * 4 * 5 * 5, 9 * 5 * 5, 2 * 2 * 5, 2 * 2 * 5)
    assert shortcut == floors.Layer(2 * 2 * 3 * 5, 3 * 5, 4 * 4 * 3, 2 * 2 * 5)
    assert head == floors.Layer(5, 6, 5, 1)


def test_floors_of_rows_are_those_computed_by_hand():
    layers = floors.layers({"name": "mlp", "width": (3,)}, (2,))
    assert layers == [floors.Layer(6, 9, 2, 3), floors.Layer(3, 4, 3, 1)]
    assert floors.parameters(layers) == 13
    step = floors.flow_step(layers, 10)
    assert step == (2 * 2 * 10 * 9, 4 * (13 + 2 * 10 * 2))
    # Two batches; of the three products of a layer, the first layer does two: nobody asks for its input's gradient.
    loss = 2 * 2 * 10 * (3 * 9 - 6)
    assert floors.train_step(layers, 10, 7) == (7 * step.flops + loss, 7 * step.bytes + 9 * 4 * 13)
    assert floors.sampling(layers, 10, 7) == (7 * step.flops, 7 * step.bytes)
    assert floors.layered_bytes(layers, 10) == 2 * 4 * (10 * (2 + 3 + 3 + 1) + 13)
    assert floors.prior_fit(100, 6, 0) == (100 * 36 + 72, 600 + 4 * 21)
    assert floors.prior_fit(100, 6, 2) == (2 * 2 * 100 * 6 * 2, 2 * 600 + 4 * 12)
    assert floors.prior_draw(10, 6, 0) == (2 * 10 * 21, 4 * (21 + 60))
    assert floors.prior_draw(10, 6, 2) == (2 * 10 * 12, 4 * (12 + 60))
    assert floors.data_batch(10, 12) == (0, 240)
    assert floors.checkpoint(13) == (0, 2 * 4 * 4 * 13)


def test_a_floor_takes_as_long_as_its_slower_half():
    assert floors.Floor(100, 30).seconds(flops_rate=10, byte_rate=10) == 10
    assert floors.Floor(100, 300).seconds(flops_rate=10, byte_rate=10) == 30


@pytest.mark.parametrize("name", ["celeba64", pytest.param("cifar10", marks=pytest.mark.slow)])
def test_flops_are_those_that_xla_counts(name):
    case = cases.case(name, cases.Load(2, 10, 0))
    layers = floors.layers(case.model, case.event_shape)
    costs = plan.plan(case.experiment.config)
    assert floors.parameters(layers) == costs.parameters
    # XLA counts activation functions, noise, spectral norm and Adam too, and a dilated convolution with its zeros.
    assert costs.flops_per_flow_step == pytest.approx(floors.flow_step(layers, 2).flops, rel=0.1)
    assert costs.flops_per_step == pytest.approx(floors.train_step(layers, 2, 10).flops, rel=0.1)


def test_the_command_writes_all_rows_without_pytorch(tmp_path, capsys, fast_rates):
    networks, out = ("toy", "lsun128"), tmp_path / "table.json"
    flags = [f"--networks={','.join(networks)}", "--precision=float32", "--torch_python=none", f"--out={out}"]
    benchmarks.main(["--smoke", *flags])
    found = json.loads(out.read_text())
    rows = {(row["network"], row["row"]): row for row in found["rows"]}
    toy = set(benchmarks.ROWS) - {"prior fit", "prior draw"}  # Its prior is N(0, I).
    wanted = {(name, row) for name in networks for row in (toy if name == "toy" else benchmarks.ROWS)}
    assert set(rows) == wanted
    assert len(found["rows"]) == len(wanted)
    for row in rows.values():
        assert row["seconds"]["ours"] > 0
        assert len(row["all_seconds"]["ours"]) == 1  # The round that warms up is left out.
        least = max(row["flops"] / 2e9, row["bytes"] / 1e9)
        assert row["over_floor"]["ours"] == pytest.approx(row["seconds"]["ours"] / least)
        assert row["ratios"] == {}
    assert found["torch"] is None
    printed = capsys.readouterr().out
    assert "PyTorch is not installed in none" in printed
    assert all(re.search(rf"^{name} +{row} ", printed, re.MULTILINE) for name, row in wanted)
    trip = found["round_trip_us"]["toy"]
    assert trip is None or f", round trip between cores {trip:.2f} us; K = " in printed
    assert all(f"first training step of {name}, with its compilation: " in printed for name in networks)


def test_half_precision_has_its_own_column(fast_rates, tmp_path):
    out = tmp_path / "table.json"
    benchmarks.main(["--smoke", "--networks=digits", "--torch_python=none", f"--out={out}"])
    rows = {row["row"]: row for row in json.loads(out.read_text())["rows"]}
    assert set(rows) == set(benchmarks.ROWS)
    flow = rows["flow step"]
    assert set(flow["seconds"]) == {"ours", "ours bf16"}
    assert flow["floor_seconds"]["ours bf16"] <= flow["floor_seconds"]["ours"]


def test_ratios_say_how_many_times_as_long_pytorch_took():
    times = {"ours": [1.0, 3.0, 2.0], "authors": [5.0], "ours bf16": [1.0], "strong bf16": [0.5]}
    row = table.figures("toy", "flow step", cases.Load(4, 2, 0), times, floors.Floor(1, 1), {"authors": 1e-6})
    assert row["seconds"]["ours"] == 2
    assert row["ratios"] == {"authors": 2.5, "strong bf16": 0.5}


def test_runs_are_taken_in_turn_and_the_first_does_not_count():
    order = []

    def run(name, times):
        return lambda: order.append(name) or times.pop(0)

    times = benchmarks.interleaved({"a": run("a", [9.0, 1.0, 2.0]), "b": run("b", [8.0, 3.0, 4.0])}, rounds=2)
    assert order == ["a", "b"] * 3
    assert times == {"a": [1.0, 2.0], "b": [3.0, 4.0]}


def test_an_unknown_network_is_named(capsys):
    with pytest.raises(SystemExit):
        benchmarks.parsed(["--networks=cifar"])
    assert "cifar: there are toy, digits, cifar10" in capsys.readouterr().err


NUMBERS = ["0", "-1", "1.5", "two", "nan", ""]
BAD_ARGUMENTS = [
    *((benchmarks, f"--{flag}={value}") for flag in ("rounds", "batch_size", "num_steps") for value in NUMBERS),
    *((benchmarks, f"--data_seconds={value}") for value in ("0", "-1", "nan", "inf", "two")),
    *((benchmarks, f"--networks={value}") for value in ("", "toy,", "toy,cifar")),
    *((benchmarks, f"--precision={value}") for value in ("bf16,float16", "bf16,", "")),
    *((module, f"--torch_python={value}") for module in (benchmarks, accelerator) for value in ("no-such-python", "/")),
    *((benchmarks, f"--out={value}") for value in ("", "/", "no-such-folder/table.json", "file/table.json")),
    *((cores, f"--{flag}={value}") for flag in ("seconds", "devices") for value in NUMBERS),
    *((module, "--rounds=0") for module in (accelerator, flow, kernels, noise, microbatch)),
    *((module, f"--{flag}=0") for module in (flow, microbatch) for flag in ("batch_size", "num_steps")),
    *((accelerator, f"--minutes={value}") for value in ("-1", "nan", "inf", "two")),
    *((accelerator, f"--{flag}=toy,cifar") for flag in ("networks", "runs")),
    *((accelerator, f"--out={value}") for value in ("file", "file/folder")),
    *((scaling, f"--{flag}=nan") for flag in scaling.Machine._fields),
    *((scaling, f"--{flag}=0") for flag in ("flops_rate", "host_chips", "host_rate", "network_rate")),
    *((scaling, f"--{flag}=-1") for flag in ("flow_latency", "latency")),
    (floors, "--nothing"),
    (table, "FILE.json"),
    *((table, f"FILE.json={value}") for value in ("no-such.json", "/", "file", "list.json", "rows.json")),
]


@pytest.mark.parametrize(
    ("module", "argument"), [pytest.param(m, a, id=f"{m.__name__.split('.')[-1]} {a}") for m, a in BAD_ARGUMENTS]
)
def test_a_bad_argument_is_one_line(module, argument, tmp_path, monkeypatch, capsys):
    def describe():
        pytest.fail("it was taken")

    for begins in (benchmarks, accelerator, flow, kernels, noise, microbatch):
        monkeypatch.setattr(begins, "describe", describe)
    monkeypatch.setattr("benchmarks.environment.describe", describe)  # `cores` imports it when it begins.
    monkeypatch.setattr(jax.config, "update", lambda *_: describe())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no JSON")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "rows.json").write_text(json.dumps({"torch": None, "rows": [{}]}))
    flag, _, value = argument.partition("=")
    argv = [argument] if flag.startswith("--") else [value] * bool(value)
    with pytest.raises(SystemExit) as exit_:
        module.main(argv)
    assert exit_.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert flag in printed.err.splitlines()[-1]


def test_results_that_differ_are_told_from_those_that_do_not():
    x = np.ones((2, 2), np.float32)
    same = {"x": x, "moments/a": np.full(3, 1e-9, np.float32)}
    other = {"x": x, "moments/a": np.array([1e-9, 1e-9, 2e-9], np.float32)}
    assert ours.largest_difference(same, same, 0 * x) == 0
    assert ours.largest_difference(same, other, 0 * x) == pytest.approx(1)
    # Of particles that hardly moved, the move is compared.
    moved = {"x": x + np.float32(1e-3)}
    assert ours.largest_difference(moved, {"x": x}, x) == pytest.approx(1)
    with pytest.raises(ValueError, match="moments/a"):
        ours.largest_difference(same, {"x": x}, x)


def test_weights_that_are_compared_are_near_their_spectral_norm():
    case = cases.case("cifar10", cases.SMOKE["cifar10"], small=True)
    state = ours.initial_state(case)
    effective = case.experiment.recipe.estimator.effective(state.params, state.spectral)
    kernel = np.asarray(effective["stage0_block0"]["conv1"]["kernel"])
    assert np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), 2) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("name", ["toy", "cifar10"])
def test_noiseless_results_do_not_depend_on_keys(name):
    case = cases.case(name, cases.SMOKE[name], small=True)
    first, second = ours.Ours(case), ours.Ours(case)
    second._root = jax.random.key(99)
    a, b = first.results(), second.results()
    assert ours.largest_difference(a, b, np.asarray(case.particles())) == 0
    assert np.abs(a["x"] - np.asarray(case.particles())).max() > 0


def test_smoke_cases_have_the_configs_of_the_paper():
    for name, make in cases.CONFIGS.items():
        case, config = cases.case(name, cases.CPU[name]), make()
        assert case.model["spectral_norm"] == config.model.get("spectral_norm", False) if name != "toy" else True
        assert (config.loss, config.divergence) == ("lsif", "chi2")  # What the networks in PyTorch know.
        assert dataclasses.replace(case.load, batch_size=1) != case.load


def test_the_accelerator_script_runs_in_miniature(tmp_path, capsys, fast_rates):
    accelerator.main(
        ["--smoke", "--rounds=1", "--torch_python=none", "--networks=toy", f"--out={tmp_path}", "--runs=cifar10"]
    )
    found = json.loads((tmp_path / "accelerator.json").read_text())
    assert set(found) >= set(accelerator.PARTS)
    assert found["left_out"] == []
    assert found["failed"] == {}
    for row in found["flow"]:
        assert row["share_of_product"] == pytest.approx(row["flops"] / row["seconds"] / 4e9)
    for row in found["training"]:
        assert row["hours"] == pytest.approx(row["seconds"] * row["num_steps"] / 3600)
        assert row["num_steps"] == 100_000
    assert all(row["extrapolated"] and row["measured"] == 8 for row in found["samples"])
    assert sum(found["profile"]["kinds"].values()) > 0
    assert 0 < found["profile"]["busy_share"] <= 1
    assert "extrapolated from 8" in capsys.readouterr().out


def test_parts_are_left_out_when_time_is_over(tmp_path, capsys, fast_rates):
    accelerator.main(["--smoke", "--minutes=0", f"--out={tmp_path}"])
    assert json.loads((tmp_path / "accelerator.json").read_text())["left_out"] == list(accelerator.PARTS)
    assert "flow: left out, the time is over" in capsys.readouterr().out


def test_a_part_that_fails_leaves_the_others(tmp_path, monkeypatch, capsys):
    def fail(options, found):
        raise MemoryError("no room")

    monkeypatch.setattr(accelerator, "PARTS", {"flow": fail, "samples": lambda options, found: [{"seconds": 3}]})
    with pytest.raises(SystemExit, match="failed: flow"):
        accelerator.main([f"--out={tmp_path}"])
    found = json.loads((tmp_path / "accelerator.json").read_text())
    assert found["failed"] == {"flow": "MemoryError: no room"}
    assert found["samples"] == [{"seconds": 3}]
    assert "in fail" in capsys.readouterr().err


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
        name("thread_name", 1, 8, "XLA Ops"),  # The same operations again.
        name("thread_name", 2, 1, "python"),
        event(1, 7, 0, 60, "sm90_xmma_fprop_implicit_gemm", "custom-call.1"),
        event(1, 7, 60, 20, "loop_add_fusion", "fusion.3"),
        event(1, 7, 90, 10, "nchwToNhwcKernel", "custom-call.1"),
        event(1, 8, 0, 100, "custom-call.1", "custom-call.1"),
        event(2, 1, 0, 500, "PjitFunction", "nothing"),
    ]
    write_trace(path, events)
    found = profile.summarise(path)
    kinds = {"convolution": 60e-6, "elementwise": 20e-6, "layout and copies": 10e-6}
    assert found["kinds"] == pytest.approx(kinds)
    assert found["busy_share"] == pytest.approx(0.9)
    assert next(iter(found["operations"])) == "sm90_xmma_fprop_implicit_gemm"
    assert "60%" not in profile.lines(found)[0]
    assert any(line.split() == ["66.7%", "convolution"] for line in profile.lines(found))


def test_time_inside_an_operation_is_counted_once(tmp_path):
    thread = {"ph": "M", "name": "thread_name", "pid": 1, "tid": 1, "args": {"name": "tf_XLAEigen"}}
    rows = [("while.1", 0, 100), ("dot.2", 10, 30), ("dot.2", 50, 30)]
    events = [{"ph": "X", "pid": 1, "tid": 1, "ts": t, "dur": d, "name": n, "args": {"hlo_op": n}} for n, t, d in rows]
    write_trace(tmp_path / "a.trace.json.gz", [thread, *events])
    found = profile.summarise(profile.newest(tmp_path))
    assert found["operations"] == pytest.approx({"dot.2": 60e-6, "while.1": 40e-6})
    with pytest.raises(FileNotFoundError, match="no trace"):
        profile.newest(tmp_path / "nothing")
    write_trace(tmp_path / "empty.trace.json.gz", [thread])
    with pytest.raises(ValueError, match="no operations"):
        profile.summarise(tmp_path / "empty.trace.json.gz")


@pytest.mark.parity
def test_pytorch_gives_the_same_results(tmp_path):
    out = tmp_path / "table.json"
    python = os.environ["FDRL_TORCH_PYTHON"]
    flags = ["--smoke", "--networks=toy,digits,cifar10,lsun128", f"--torch_python={python}", f"--out={out}"]
    benchmarks.main([*flags, "--no-compile"])
    found = json.loads(out.read_text())
    compared = [row for row in found["rows"] if row["row"] == "training step"]
    assert len(compared) == 4
    for row in compared:
        for form in ("authors", "strong"):
            assert row["differences"][form] < 1e-5, row["network"]
            assert math.isfinite(row["ratios"][form])


@pytest.mark.parity
def test_a_failure_over_there_is_one_line():
    from benchmarks.torch_process import TorchError, TorchProcess

    with TorchProcess(os.environ["FDRL_TORCH_PYTHON"]) as torch, pytest.raises(TorchError, match="compare: "):
        torch.ask("compare", form="authors", out="/nowhere")


def test_the_pytorch_side_imports_neither_jax_nor_the_package():
    for name in ("torch_baseline", "torch_forms", "torch_networks"):
        text = (ROOT / "benchmarks" / f"{name}.py").read_text()
        assert not re.search(r"^\s*(from|import) (jax|fdrl_jax)", text, re.MULTILINE), name


def test_the_shell_script_is_well_formed():
    subprocess.run(["bash", "-n", ROOT / "benchmarks" / "accelerator.sh"], check=True)


def test_the_scaling_model_adds_what_it_says(capsys):
    machine = scaling.Machine(
        flops_rate=1e3, flow_latency=0.01, host_chips=2, host_rate=1e4, network_rate=1e3, latency=0.5
    )
    layers = floors.layers({"name": "mlp", "width": (3,)}, (2,))
    flow, loss, gradient = 4 * 9, 4 * (3 * 9 - 6), 4 * 13
    assert scaling.step_seconds(machine, layers, 5, 7, 1) == pytest.approx((7 * 5 * flow + 5 * loss) / 1e3)
    joined = scaling.step_seconds(machine, layers, 5, 7, 2) - scaling.step_seconds(machine, layers, 5, 7, 1)
    assert joined == pytest.approx(gradient / 1e4 + 2 * 0.5)
    # Beyond a host the slow link counts.
    assert scaling.all_reduce_seconds(machine, gradient, 4) == pytest.approx(2 * 3 / 4 * gradient / 1e3 + 4 * 0.5)
    # Too few examples: the flow takes its latency.
    assert scaling.step_seconds(machine, layers, 0.1, 7, 1) == pytest.approx(7 * 0.01 + 0.1 * loss / 1e3)
    scaling.main([])
    assert len(capsys.readouterr().out.splitlines()) == 2 + 3 * len(scaling.CHIPS)


def test_what_a_microbatch_costs_is_printed(capsys):
    microbatch.main(["--smoke", "--network=digits", "--batch_size=4", "--num_steps=2", "--rounds=1"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "microbatch" in line]
    assert [line[1] for line in lines] == ["of", "2:", "1:"]
    mib = [float(line[-2]) for line in lines]
    assert 0 < mib[-1] < mib[0]


def test_the_noise_that_is_timed_is_the_noise_of_jax():
    found = re.search(r"jax.random +([\d.]+) ns a number, rng +([\d.]+) .*; differ (.*)$", noise.measure("toy", 1))
    assert float(found[1]) > 0
    assert float(found[2]) > 0
    assert float(found[3]) < 1e-4  # Of sums of 100 numbers.


@pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda pid: ())(0)) < 2, reason="needs a choice of cores")
def test_a_round_trip_between_cores_is_measured():
    assert cores.round_trip() > 0.05


def test_there_is_no_round_trip_on_one_core(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert cores.round_trip() is None


def test_the_floors_of_the_paper_are_printed(capsys):
    floors.main([])
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()[1:]}
    # 11.4 M parameters and 3.8 GFLOP forward an image, here without the products with the padding's zeros.
    assert rows["cifar10"][1] == "11,374,209"
    assert float(rows["cifar10"][2]) == pytest.approx(2 * 64 * 3.8, rel=0.02)
    assert set(rows) == set(cases.CONFIGS)


def test_the_json_becomes_the_table_of_the_docs():
    row = table.figures(
        "cifar10", "prior fit", cases.Load(4, 2, 16, rank=3), {"ours": [0.2], "authors": [0.5], "strong bf16": [0.1]},
        floors.Floor(2e9, 1e6), {"authors": 2e-6},
    )  # fmt: skip
    rates = {"float32_flops": 2e10, "bf16_flops": 4e10, "bytes": 1e9}
    table.add_floors([row], rates)
    found = {
        "environment": "here",
        "torch": {"torch": "2", "threads": 4},
        "load": {"cifar10": 0.1},
        "round_trip_us": {"cifar10": 0.25},
        "rates": rates,
        "rows": [row],
    }
    head, *_, last = table.markdown(found)
    assert "here; PyTorch 2, 4 threads. Load average before each network: cifar10 0.1; " in head
    assert "; round trip between the cores 0.25 us. Rates: " in head
    cells = ["cifar10, 16, 2", "prior fit, rank 3", "2", "1", "100", "200", "2", "2.50", "0.50 bf16", "2e-06"]
    assert last == f"| {' | '.join(cells)} |"
