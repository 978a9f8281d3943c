"""Bad command-line arguments are reported in one line before anything is measured.

Covers: `common.arguments`.
"""

import json

import jax
import pytest

from benchmarks.speed import (
    accelerator,
    comparison,
    convolutions,
    cores,
    floors,
    flow,
    microbatch,
    noise,
    scaling,
    table,
)


def test_an_unknown_network_is_named(capsys):
    with pytest.raises(SystemExit):
        comparison.parsed(["--networks=cifar"])
    assert "unknown: cifar; choose from toy, digits, cifar10" in capsys.readouterr().err


NUMBERS = ["0", "-1", "1.5", "two", "nan", ""]
BAD_ARGUMENTS = [
    *((comparison, f"--{flag}={value}") for flag in ("rounds", "batch_size", "num_steps") for value in NUMBERS),
    *((comparison, f"--data_seconds={value}") for value in ("0", "-1", "nan", "inf", "two")),
    *((comparison, f"--networks={value}") for value in ("", "toy,", "toy,cifar")),
    *((comparison, f"--precision={value}") for value in ("bf16,float16", "bf16,", "")),
    *((module, f"--torch_python={value}") for module in (comparison, accelerator) for value in ("no-such-python", "/")),
    *((comparison, f"--out={value}") for value in ("", "/", "no-such-folder/table.json", "file/table.json")),
    *((cores, f"--{flag}={value}") for flag in ("seconds", "devices") for value in NUMBERS),
    *((module, "--rounds=0") for module in (accelerator, flow, convolutions, noise, microbatch)),
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
        pytest.fail("the argument was accepted")

    # These commands begin by printing the environment; `cores` sets the number of devices before that.
    for command in (comparison, accelerator, cores, flow, convolutions, noise, microbatch):
        monkeypatch.setattr(command, "describe", describe)
    monkeypatch.setattr(jax.config, "update", lambda *_: describe())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not JSON")
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
