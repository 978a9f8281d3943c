"""The report of a run: what it shows of the run's files, and what it refuses.

Covers: `report.report_page`, `report.run_summary`, `report.training_plots`, `report.html_page`.
"""

import json
import re
import shlex
import shutil

import pytest
from page_content import Page
from recorded_run import diagnostics, evaluation, write_config, write_lines

from fdrl_jax import InputError, cli
from fdrl_jax.evaluation.report import (
    report_page,
    run_summary,
    text_formats,
    training_plots,
    write_comparison,
    write_report,
)
from fdrl_jax.experiment import run_record
from fdrl_jax.experiment.workdir_files import read_config
from fdrl_jax.flags import parse


def test_a_report_shows_all_that_a_run_has(full):
    out = write_report(full)
    assert out == full / "report.html"
    shown = Page(out)
    for part in (
        "digits · lsif / chi2 · ddp prior · step 4 of 4",
        "22.30 [21.90, 22.80] 95% 1,024 / 1,797 4 EMA 0 12 cpu 12.3 s 2026-11-22",
        "Lower is better. pixels in 0..255, flattened. Reference: training images of digits.",
        "Warning: 1,024 samples: the distance is biased upwards",
        "precision (lite0)",
        "step 4: frechet pixels 96.0",
        "step 2, step 4",
        "optimizer",
        "dequantize_sigma 0.03",
        "Measured against held-out images.",
        "Written 20",
    ):
        assert part in shown.text, part
    for title in ("Loss", "Density ratio r", "Gradient norm", "Learning rate", "Held-out precision"):
        assert title in shown.text
    for title in ("Held-out frechet pixels", "KL along the flow", "Distance moved", "Density ratio at step 4"):
        assert title in shown.text
    alts = [attributes["alt"] for tag, attributes in shown.tags if tag == "img"]
    assert alts == ["Samples after 4 training steps", "Figure: Fig. 4", "Figure: flow animation, animated"]
    assert out.stat().st_size < 5e6


def test_each_field_of_the_config_is_shown(workdir):
    shown = Page(write_report(workdir))
    fields = text_formats.flat(read_config(workdir))
    assert len(fields) > 25
    for name, value in fields.items():
        assert f"{name.rpartition('.')[2]} {value}" in shown.text


def test_each_part_that_a_run_lacks_has_a_command(trained, tmp_path):
    workdir = tmp_path / "it's new"
    workdir.mkdir()
    shutil.copy(trained / "config.json", workdir)
    shown = Page(write_report(workdir))
    quoted = shlex.quote(str(workdir))
    for sentence in ("No samples yet", "Not evaluated yet", "No metrics yet", "No diagnostics", "No checkpoint yet"):
        assert sentence in shown.text
    for mode in ("evaluate", "figures"):
        assert f"python main.py --mode={mode} --workdir={quoted}" in shown.text
    assert f"python main.py --config=configs/NAME.py --workdir={quoted}" in shown.text


@pytest.mark.parametrize("template", run_summary.COMMANDS.values())
def test_the_commands_on_the_page_can_be_parsed(template):
    command = shlex.split(template.format(workdir="'a run'").replace("NAME", "digits"))
    assert command[:2] == ["python", "main.py"]
    flags, _, _ = parse(command[1:])
    assert flags.workdir == "a run"


def test_all_that_comes_from_a_run_is_escaped(full):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    workdir = full.rename(full.parent / evil.replace("/", "\N{FRACTION SLASH}"))
    (workdir / "figures" / "<b>&.png").write_bytes((workdir / "figures" / "fig4.png").read_bytes())
    fields = dict.fromkeys(("features", "protocol", "reference", "name", "device", "date", "samples"), evil)
    write_lines(workdir / "evaluation.jsonl", evaluation(evil, warnings=[evil], versions={evil: evil}, **fields))
    write_lines(workdir / "metrics.jsonl", {"step": 1, evil: 1.0, '"><i>$x_$': 2.0})
    write_lines(workdir / "diagnostics.jsonl", diagnostics(1, reference=evil, metrics={evil: 1.0, "$\\frac": 1.0}))
    write_lines(workdir / "best.json", {"step": 1, "metric": evil, "value": 1.0})
    config = read_config(workdir)
    write_config(workdir, config | {evil: evil, "loss": evil, "data": {evil: evil}})
    other = shutil.copytree(workdir, workdir.parent / "other")
    write_config(other, config)
    for out in (write_report(workdir), write_comparison([workdir, other], workdir.parent / "compare.html")):
        shown = Page(out)
        assert evil in shown.text
        names = {tag for tag, _ in shown.tags}
        assert not names & {"script", "b", "i", "iframe", "object"}
        assert not [a for _, attributes in shown.tags for a in attributes if a.startswith("on")]
        assert all(attributes["src"].startswith("data:image/") for tag, attributes in shown.tags if tag == "img")


def test_samples_are_spread_with_first_and_last():
    assert training_plots.spread([1, 2, 3], 6) == [1, 2, 3]
    assert training_plots.spread(list(range(10)), 6) == [0, 2, 4, 5, 7, 9]
    assert training_plots.spread(list(range(1000)), 3)[::2] == [0, 999]


def test_the_headline_ignores_samples_from_other_sources(full):
    own = [text_formats.metric_name(r) for r in run_record.read_run(full).evaluations]
    before = report_page.headline(run_record.read_run(full))
    given = json.dumps(evaluation(metric="precision", value=0.123, samples="given.npz"))
    (full / "evaluation.jsonl").write_text((full / "evaluation.jsonl").read_text() + given + "\n")
    assert len(run_record.read_run(full).evaluations) == len(own) + 1
    assert report_page.headline(run_record.read_run(full)) == before


@pytest.mark.parametrize("text", ["{", "[]", '{"step": 1}', '{"step": 1, "metric": "kid", "value": "low"}'])
def test_a_damaged_best_is_named(workdir, text):
    (workdir / "best.json").write_text(text)
    with pytest.raises(InputError, match=r"best\.json is damaged \("):
        write_report(workdir)


@pytest.mark.parametrize("name", ["samples/00000004.png", "figures/flow_animation.gif"])
def test_a_damaged_picture_is_named(full, name):
    data = (full / name).read_bytes()
    (full / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=f"{name} is not a picture that can be read"):
        write_report(full)


def call(*argv):
    return cli.run(["main.py", *map(str, argv)])


def test_the_command_line_prints_where_it_writes(workdir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    other = shutil.copytree(workdir, tmp_path / "other")
    assert call("--mode=report", f"--workdir={workdir}") == 0
    assert call("--mode=report", f"--workdir={workdir}", "--out=mine.html") == 0
    assert call("--mode=compare", workdir, other) == 0
    printed = capsys.readouterr().out
    for name in (workdir / "report.html", "mine.html", "compare.html"):
        assert f"in {name}\n" in printed
        assert (tmp_path / name).read_text().startswith("<!doctype html>")


def test_plots_have_the_colours_of_the_page_and_unique_ids(full):
    text = write_report(full).read_text()
    for svg in re.findall(r"<svg viewBox.*?</svg>", text, re.DOTALL):
        assert not re.search(r"#[0-9a-f]{6}", svg), svg[:200]
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'(?:url\(|href=")#([^)"]+)', text):
        assert target in ids
