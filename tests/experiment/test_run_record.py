"""The record of a run: its speed, its pictures, and damaged lines that are left out and named.

Covers: `run_record`.
"""

import json
import os
import shutil

import pytest
import recorded_run
import shrink
from page_content import Page
from PIL import Image
from recorded_run import diagnostics, evaluation, write_lines

from fdrl_jax import cli
from fdrl_jax.evaluation.report import write_report
from fdrl_jax.experiment import run_record


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "digits"
    shrink.trained(shrink.tiny_digits(), workdir)
    return workdir


@pytest.fixture
def workdir(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "digits")


@pytest.fixture
def full(workdir):
    return recorded_run.complete(workdir)


def test_speed_comes_from_the_seconds_logged(workdir):
    write_lines(
        workdir / "metrics.jsonl",
        {"step": 50, "loss": 1.0},
        {"step": 100, "seconds": 20.0},
        {"step": 250, "seconds": 30.0},
    )
    assert run_record.read_run(workdir).speed()[0] == pytest.approx(200 / 50)
    assert "4.000 steps/s, from 50 s of metrics.jsonl" in Page(write_report(workdir)).text


def test_speed_comes_from_file_times_unless_the_run_was_copied(workdir):
    picture = (workdir / "samples" / "00000004.png").read_bytes()
    for step, time in ((4, 1000), (104, 1050), (204, 1100)):
        path = workdir / "samples" / f"{step:08d}.png"
        path.write_bytes(picture)
        os.utime(path, (time, time))
    assert run_record.read_run(workdir).speed()[0] == pytest.approx(2.0)
    for last, between in ((1000, 1000), (1100, 1100), (1100, 990)):  # Times that copying may leave.
        os.utime(path, (last, last))
        os.utime(workdir / "samples" / "00000104.png", (between, between))
        assert run_record.read_run(workdir).speed() is None


METRICS, EVALUATION, DIAGNOSTICS = "metrics.jsonl", "evaluation.jsonl", "diagnostics.jsonl"
DAMAGED = [
    (METRICS, '{"step": 5, "lo', "it is not JSON"),
    (METRICS, "[1]", "it is not a JSON object"),
    (METRICS, '{"loss": 1.0}', "it has no 'step'"),
    (METRICS, '{"step": 1.5}', "'step' is not a step number"),
    (METRICS, '{"step": -1}', "'step' is not a step number"),
    (METRICS, '{"step": true}', "'step' is not a step number"),
    (METRICS, '{"step": 5, "loss": "low"}', "'loss' is not a number"),
    (METRICS, '{"step": 5, "loss": 1' + "0" * 400 + "}", "'loss' is not a number"),
    (METRICS, "[" * 100_000, "it is not JSON"),
    (METRICS, "\udcff", "it is not JSON"),
    (EVALUATION, json.dumps({"metric": "kid"}), "it has no 'value'"),
    (EVALUATION, json.dumps(evaluation(interval=[1.0])), "'interval' is not two numbers"),
    (EVALUATION, json.dumps(evaluation(warnings="none")), "'warnings' is not a list of texts"),
    (EVALUATION, json.dumps(evaluation(ema=1)), "'ema' is not true or false"),
    (EVALUATION, json.dumps(evaluation(num_samples="many")), "'num_samples' is not a count"),
    (DIAGNOSTICS, json.dumps(diagnostics(5, metrics=[1])), "'metrics' is not an object of numbers"),
    (DIAGNOSTICS, json.dumps(diagnostics(5, flow={"steps": [0, 1], "kl": [1.0]})), "'flow' is not an object of the"),
    (DIAGNOSTICS, json.dumps(diagnostics(5, flow={"kl": [1.0]})), "'flow' is not an object of the"),
    (DIAGNOSTICS, json.dumps(diagnostics(5, histogram={"edges": [1, 0], "data": [1]})), "'histogram' is not"),
    (DIAGNOSTICS, json.dumps(diagnostics(5, histogram={"edges": [0, 1], "data": [1, 2]})), "'histogram' is not"),
]


@pytest.mark.parametrize(("name", "line", "message"), DAMAGED, ids=[m + line[:20] for _, line, m in DAMAGED])
def test_a_damaged_line_is_left_out_and_named(full, name, line, message, capsys):
    good = (full / name).read_text()
    (full / name).write_text(f"{good}\n{line}\n{good}", errors="surrogateescape")
    number = len(good.splitlines()) + 2  # An empty line comes before it.
    before = run_record.read_run(full)
    assert cli.run(["main.py", "--mode=report", f"--workdir={full}"]) == 0
    out = capsys.readouterr().out
    assert f"{name}, line {number} is damaged ({message}" in out.splitlines()[0]
    assert out.splitlines()[0].endswith(": left out")
    # The other lines are read, and the page names the one that is left out.
    after = run_record.read_run(full)
    field = {METRICS: "metrics", EVALUATION: "evaluations", DIAGNOSTICS: "diagnostics"}[name]
    assert getattr(after, field) == getattr(before, field) == [json.loads(row) for row in good.splitlines()] * 2
    assert f"line {number} is damaged (" in (full / "report.html").read_text()


@pytest.mark.parametrize("mode", ["report", "compare"])
def test_a_classifier_is_not_a_run(mode, full, tmp_path, capsys):
    folder = tmp_path / "classifier"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"seed": 0, "attack": {"eps": 0.7}}))
    where = [f"--workdir={folder}"] if mode == "report" else [str(full), str(folder), f"--out={tmp_path}/c.html"]
    assert cli.run(["main.py", f"--mode={mode}", *where]) == 2
    assert "holds a classifier, not a training run" in capsys.readouterr().err


def test_figures_are_in_order_and_an_animation_is_shown_once(full):
    for name in ("fig11.png", ".fig4.123.png", "notes.txt"):
        shutil.copy(full / "figures" / "fig4.png", full / "figures" / name)
    Image.new("RGB", (20, 10)).save(full / "figures" / "flow_animation.webp")
    names = [path.name for path in run_record.read_run(full).figures]
    assert names == ["fig4.png", "fig11.png", "flow_animation.webp"]
