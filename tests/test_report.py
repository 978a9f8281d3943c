"""Reports: what they say of a run's files, what they refuse, and how a real browser shows them."""

import base64
import html.parser
import io
import json
import os
import pathlib
import re
import shlex
import shutil
import xml.etree.ElementTree as ElementTree

import browser
import numpy as np
import pytest
import shrink
from PIL import Image

import main
from fdrl_jax import InputError, checkpoint
from fdrl_jax.command_line import parse
from fdrl_jax.report import comparison, images, page, plots, render, run, write_comparison, write_report

EDGES = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]


def evaluation(metric="frechet", value=22.3, **changes):
    record = {
        "metric": metric,
        "features": "pixels",
        "name": "",
        "protocol": "pixels in 0..255, flattened",
        "value": value,
        "interval": [value - 0.4, value + 0.5],
        "confidence": 0.95,
        "num_samples": 1024,
        "num_reference": 1797,
        "reference": "training images of digits",
        "seed": 0,
        "step": 4,
        "ema": True,
        "flow_steps": 12,
        "warnings": [],
        "versions": {"fdrl_jax": "0.1.0", "jax": "0.10.2", "python": "3.11.7"},
        "device": "cpu",
        "date": "2026-11-22",
        "seconds": 12.3,
    }
    return record | changes


def diagnostics(step, **changes):
    record = {
        "step": step,
        "reference": "held-out images",
        "metrics": {"precision": step / 10, "frechet_pixels": 100.0 - step},
        "flow": {"steps": [0, 1, 2], "kl": [1.5, 0.5, None], "displacement": [0.0, 0.9, 0.3]},
        "histogram": {"edges": EDGES, "data": [0, 1, 5, 3, 0, 0], "flowed": [0, 1, 4, 4, 1, 0], "prior": [0] * 6},
        "seconds": 1.2,
    }
    return record | changes


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Digits after four steps: a run as training leaves it."""
    workdir = tmp_path_factory.mktemp("runs") / "digits"
    shrink.trained(shrink.tiny_digits(), workdir)
    return workdir


@pytest.fixture
def workdir(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "digits")


@pytest.fixture
def full(workdir):
    """The run with all that a run can have."""
    warning = "1,024 samples: the distance is biased upwards"
    write(
        workdir / "evaluation.jsonl", evaluation(warnings=[warning]), evaluation("precision", 0.9123, features="lite0")
    )
    write(workdir / "diagnostics.jsonl", *map(diagnostics, (1, 2, 3, 4)))
    write(workdir / "best.json", {"step": 4, "metric": "frechet_pixels", "value": 96.0})
    figures = workdir / "figures"
    figures.mkdir()
    Image.new("RGB", (1500, 300), "red").save(figures / "fig4.png")
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("white", "black")]
    frames[0].save(figures / "flow_animation.gif", save_all=True, append_images=frames[1:], duration=50)
    return workdir


class Text(html.parser.HTMLParser):
    """Tags and text of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)


# --- What a report says ---


def test_a_report_tells_all_that_a_run_has(full):
    out = write_report(full)
    assert out == full / "report.html"
    shown = Text(out)
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
        "Against held-out images.",
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
    shown = Text(write_report(workdir))
    fields = render.flat(checkpoint.read_config(workdir))
    assert len(fields) > 25
    for name, value in fields.items():
        assert f"{name.rpartition('.')[2]} {value}" in shown.text


def test_a_run_without_anything_says_how_to_get_it(trained, tmp_path):
    workdir = tmp_path / "it's new"
    workdir.mkdir()
    shutil.copy(trained / "config.json", workdir)
    shown = Text(write_report(workdir))
    quoted = shlex.quote(str(workdir))
    for sentence in ("No samples yet", "Not evaluated yet", "No metrics yet", "None were written", "No checkpoint yet"):
        assert sentence in shown.text
    for mode in ("evaluate", "figures"):
        assert f"python main.py --mode={mode} --workdir={quoted}" in shown.text
    assert f"python main.py --config=configs/NAME.py --workdir={quoted}" in shown.text


@pytest.mark.parametrize("hint", page.HINTS.values())
def test_the_commands_that_a_report_gives_are_commands(hint):
    command = shlex.split(hint.format(workdir="'a run'").replace("NAME", "digits"))
    assert command[:2] == ["python", "main.py"]
    flags, _, _ = parse(command[1:])
    assert flags.workdir == "a run"


def write_config(workdir, config):
    """Another config for a run, which then is as one without manifests: they would say that it was changed."""
    for path in workdir.rglob("manifest.json"):
        path.unlink()
    (workdir / "config.json").write_text(json.dumps(config))


def test_all_that_comes_from_a_run_is_escaped(full):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    workdir = full.rename(full.parent / evil.replace("/", "\N{FRACTION SLASH}"))
    (workdir / "figures" / "<b>&.png").write_bytes((workdir / "figures" / "fig4.png").read_bytes())
    fields = dict.fromkeys(("features", "protocol", "reference", "name", "device", "date", "samples"), evil)
    write(workdir / "evaluation.jsonl", evaluation(evil, warnings=[evil], versions={evil: evil}, **fields))
    write(workdir / "metrics.jsonl", {"step": 1, evil: 1.0, '"><i>$x_$': 2.0})
    write(workdir / "diagnostics.jsonl", diagnostics(1, reference=evil, metrics={evil: 1.0, "$\\frac": 1.0}))
    write(workdir / "best.json", {"step": 1, "metric": evil, "value": 1.0})
    config = checkpoint.read_config(workdir)
    write_config(workdir, config | {evil: evil, "loss": evil, "data": {evil: evil}})
    other = shutil.copytree(workdir, workdir.parent / "other")
    write_config(other, config)
    for out in (write_report(workdir), write_comparison([workdir, other], workdir.parent / "compare.html")):
        shown = Text(out)
        assert evil in shown.text
        names = {tag for tag, _ in shown.tags}
        assert not names & {"script", "b", "i", "iframe", "object"}
        assert not [a for _, attributes in shown.tags for a in attributes if a.startswith("on")]
        assert all(attributes["src"].startswith("data:image/") for tag, attributes in shown.tags if tag == "img")


def test_samples_are_spread_with_first_and_last():
    assert page.spread([1, 2, 3], 6) == [1, 2, 3]
    assert page.spread(list(range(10)), 6) == [0, 2, 4, 5, 7, 9]
    assert page.spread(list(range(1000)), 3)[::2] == [0, 999]


def test_speed_is_of_the_seconds_logged(workdir):
    write(
        workdir / "metrics.jsonl",
        {"step": 50, "loss": 1.0},
        {"step": 100, "seconds": 20.0},
        {"step": 250, "seconds": 30.0},
    )
    assert run.read_run(workdir).speed()[0] == pytest.approx(200 / 50)
    assert "4.000 steps/s, from 50 s of metrics.jsonl" in Text(write_report(workdir)).text


def test_speed_is_of_file_times_where_these_are_of_the_run(workdir):
    picture = (workdir / "samples" / "00000004.png").read_bytes()
    for step, time in ((4, 1000), (104, 1050), (204, 1100)):
        path = workdir / "samples" / f"{step:08d}.png"
        path.write_bytes(picture)
        os.utime(path, (time, time))
    assert run.read_run(workdir).speed()[0] == pytest.approx(2.0)
    for last, between in ((1000, 1000), (1100, 1100), (1100, 990)):  # As of a copy.
        os.utime(path, (last, last))
        os.utime(workdir / "samples" / "00000104.png", (between, between))
        assert run.read_run(workdir).speed() is None


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (22.3456, None, "22.35"),
        (22.3456, 0.45, "22.35"),
        (22.3456, 4.5, "22.3"),
        (1234.5678, 45.0, "1,235"),
        (0.00123, 0.0002, "0.00123"),
        (0.0, None, "0"),
        (0.0, 0.01, "0.000"),
        (-0.5123456, None, "-0.5123"),
        (1e-7, None, "1.000e-07"),
        (12345, None, "12,345"),
        (float("nan"), None, "not finite"),
        (None, None, "not finite"),
    ],
)
def test_numbers_have_the_digits_that_their_interval_allows(value, spread, text):
    assert render.number(value, spread) == text


# --- What is refused ---

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
def test_a_damaged_line_is_named(full, name, line, message, capsys):
    good = (full / name).read_text()
    (full / name).write_text(f"{good}\n{line}\n{good}", errors="surrogateescape")
    number = len(good.splitlines()) + 2  # After an empty one.
    before = run.read_run(full)
    assert main.run(["main.py", "--mode=report", f"--workdir={full}"]) == 0
    out = capsys.readouterr().out
    assert f"{name}, line {number} is damaged ({message}" in out.splitlines()[0]
    assert out.splitlines()[0].endswith(": left out")
    # The others are shown, and the page says what is not.
    after, field = run.read_run(full), {METRICS: "metrics", EVALUATION: "evaluations", DIAGNOSTICS: "diagnostics"}[name]
    assert getattr(after, field) == getattr(before, field) == [json.loads(row) for row in good.splitlines()] * 2
    assert f"line {number} is damaged (" in (full / "report.html").read_text()


def test_the_headline_is_of_the_runs_own_samples(full):
    own = [render.metric_name(r) for r in run.read_run(full).evaluations]
    before = page.headline(run.read_run(full))
    given = json.dumps(evaluation(metric="precision", value=0.123, samples="given.npz"))
    (full / EVALUATION).write_text((full / EVALUATION).read_text() + given + "\n")
    assert len(run.read_run(full).evaluations) == len(own) + 1
    assert page.headline(run.read_run(full)) == before


@pytest.mark.parametrize("mode", ["report", "compare"])
def test_a_classifier_is_no_run(mode, full, tmp_path, capsys):
    folder = tmp_path / "classifier"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"seed": 0, "attack": {"eps": 0.7}}))
    where = [f"--workdir={folder}"] if mode == "report" else [str(full), str(folder), f"--out={tmp_path}/c.html"]
    assert main.run(["main.py", f"--mode={mode}", *where]) == 2
    assert "holds a classifier, not a training run" in capsys.readouterr().err


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
    return main.run(["main.py", *map(str, argv)])


def test_the_command_line_writes_where_it_says(workdir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    other = shutil.copytree(workdir, tmp_path / "other")
    assert call("--mode=report", f"--workdir={workdir}") == 0
    assert call("--mode=report", f"--workdir={workdir}", "--out=mine.html") == 0
    assert call("--mode=compare", workdir, other) == 0
    printed = capsys.readouterr().out
    for name in (workdir / "report.html", "mine.html", "compare.html"):
        assert f"in {name}\n" in printed
        assert (tmp_path / name).read_text().startswith("<!doctype html>")


# --- Plots and pictures ---


def points_of(svg, colour="var(--series-0)"):
    """Of each line of a colour its points, with y upwards."""
    root = ElementTree.fromstring(f'<a xmlns:xlink="x">{svg}</a>')
    paths = [p.get("d") for p in root.iter("path") if f"stroke: {colour}" in p.get("style", "")]
    return [np.array(re.findall(r"[ML] (\S+) (\S+)", path), float) * [1, -1] for path in paths]


def test_a_line_goes_through_its_points():
    (line,) = points_of(plots.lines("a", "A", [plots.Line("", [0, 1, 3], [0.0, 2.0, 1.0])]).svg)[:1]
    x, y = (line - line[0]).T
    np.testing.assert_allclose(x / x[2], [0, 1 / 3, 1], atol=1e-4)
    np.testing.assert_allclose(y / y[1], [0, 1, 0.5], atol=1e-4)


def test_what_is_not_finite_is_a_gap():
    values = [1.0, 2.0, None, 3.0, float("inf"), float("nan"), 4.0, 5.0]
    (line, *_) = points_of(plots.lines("a", "A", [plots.Line("", range(8), values)]).svg)
    assert len(line) == 5
    empty = plots.lines("a", "A", [plots.Line("", [0, 1], [None, None])])
    assert "<svg" in empty.svg


def test_a_long_line_keeps_its_outliers_as_a_band():
    values = np.zeros(6000)
    values[3210] = 7.0
    plot = plots.lines("a", "A", [plots.Line("", list(range(6000)), values.tolist())])
    assert plot.note == "Each point is the mean of 10 lines, the band their range."
    assert len(plot.svg) < 60_000
    bands = re.findall(r'd="([^"]*)"[^>]*fill: var\(--series-0\)', plot.svg, re.DOTALL) or re.findall(
        r'<path [^>]*id="[^"]*" d="([^"]*)"', plot.svg, re.DOTALL
    )
    heights = [np.ptp(np.array(re.findall(r"[ML] (\S+) (\S+)", band), float)[:, 1]) for band in bands]
    (line, *_) = points_of(plot.svg)
    assert max(heights) == pytest.approx(10 * np.ptp(line[:, 1]), rel=0.01)  # The mean is a tenth of the outlier.


def test_a_logarithmic_axis_needs_a_factor_of_ten():
    def middle(values, log):
        (line, *_) = points_of(plots.lines("a", "A", [plots.Line("", [0, 1, 2], values)], log=log).svg)
        return (line[1, 1] - line[0, 1]) / (line[2, 1] - line[0, 1])

    assert middle([1.0, 10.0, 100.0], log=True) == pytest.approx(0.5, abs=1e-3)
    assert middle([1.0, 10.0, 100.0], log=False) == pytest.approx(1 / 11, abs=1e-3)
    assert middle([1.0, 2.0, 5.0], log=True) == pytest.approx(1 / 4, abs=1e-3)
    assert middle([0.0, 10.0, 100.0], log=True) == pytest.approx(1 / 10, abs=1e-3)


def test_a_histogram_has_area_one_and_leaves_empty_ends_away():
    counts = {"data": [0, 0, 2, 0, 0, 0], "flowed": [0, 0, 1, 1, 0, 0], "prior": []}
    plot = plots.histogram("h", "H", EDGES, counts, "log10 r")
    assert [entry.label for entry in plot.legend] == ["data", "flowed"]
    high, low = (np.ptp(points_of(plot.svg, f"var(--series-{i})")[0][:, 1]) for i in (0, 1))
    assert high == pytest.approx(2 * low, rel=1e-3)
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", plot.svg)
    assert "\N{MINUS SIGN}1.0" in labels
    assert "2.0" not in labels[: labels.index("log10 r")]


def test_colours_are_the_pages_and_ids_are_not_shared(full):
    text = write_report(full).read_text()
    for svg in re.findall(r"<svg viewBox.*?</svg>", text, re.DOTALL):
        assert not re.search(r"#[0-9a-f]{6}", svg), svg[:200]
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'(?:url\(|href=")#([^)"]+)', text):
        assert target in ids


def test_more_runs_than_colours_differ_in_dashes():
    lines = [plots.Line(str(i), [0, 1], [0.0, float(i)], i) for i in range(20)]
    plot = plots.lines("a", "A", lines)
    assert len({(entry.colour, entry.dashes) for entry in plot.legend}) == 20
    styles = re.findall(r"stroke-dasharray: ([^;]*);[^\"]*stroke: (var\(--series-\d\))", plot.svg)
    assert len(set(styles)) == 20 - plots.NUM_COLOURS  # The first are solid.


def decoded(uri):
    kind, data = re.fullmatch(r"data:image/(\w+);base64,(.*)", uri).groups()
    return kind, base64.b64decode(data)


def test_small_pictures_go_in_as_they_are_and_large_ones_as_webp(tmp_path):
    small, large, noise = tmp_path / "small.png", tmp_path / "large.png", tmp_path / "noise.png"
    rng = np.random.default_rng(0)
    Image.new("RGB", (30, 20), "red").save(small)
    pixels = rng.integers(0, 2, (300, 300, 1), np.uint8).repeat(3, 2).repeat(2, 0).repeat(2, 1) * 255
    Image.fromarray(pixels).save(large, compress_level=0)
    Image.fromarray(rng.integers(0, 256, (500, 2000, 3), np.uint8)).save(noise)
    assert decoded(images.embed(small).uri) == ("png", small.read_bytes())
    kind, data = decoded(images.embed(large).uri)
    assert (kind, len(data) < images.STILL_LIMIT) == ("webp", True)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), pixels)
    found = images.embed(noise)
    kind, data = decoded(found.uri)
    assert (kind, found.width, found.height) == ("webp", 2000, 500)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (1600, 400)


def test_animations_stay_animations(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "ANIMATION_LIMIT", 100_000)
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (100, 100, 3), np.uint8)) for _ in range(12)]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=70, loop=0)
    assert path.stat().st_size > images.ANIMATION_LIMIT
    found = images.embed(path)
    kind, data = decoded(found.uri)
    assert (kind, len(data) < path.stat().st_size) == ("webp", True)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 12
        image.seek(11)
        image.load()
        assert image.info["duration"] == 70
    with Image.open(io.BytesIO(decoded(found.still)[1])) as still:
        assert not getattr(still, "is_animated", False)
        difference = np.asarray(still.convert("L"), float) - np.asarray(frames[-1].convert("L"), float)
        assert np.abs(difference).mean() < 12  # The last frame, in 256 colours.


def test_figures_are_in_order_and_an_animation_is_shown_once(full):
    for name in ("fig11.png", ".fig4.123.png", "notes.txt"):
        shutil.copy(full / "figures" / "fig4.png", full / "figures" / name)
    Image.new("RGB", (20, 10)).save(full / "figures" / "flow_animation.webp")
    names = [path.name for path in run.read_run(full).figures]
    assert names == ["fig4.png", "fig11.png", "flow_animation.webp"]


# --- Comparing ---


@pytest.fixture
def two(full):
    other = shutil.copytree(full, full.parent / "other")
    config = checkpoint.read_config(other)
    config["flow"]["step_size"] = 1.5
    del config["optimizer"]["b1"]
    write_config(other, config)
    return full, other


def test_a_comparison_shows_the_fields_that_differ_and_no_others(two, tmp_path):
    fields = [render.flat(checkpoint.read_config(workdir)) for workdir in two]
    assert comparison.differences(fields) == {"flow.step_size": ["3.0", "1.5"], "optimizer.b1": ["0.9", None]}
    shown = Text(write_comparison(two, tmp_path / "c.html"))
    assert "flow.step_size 3.0 1.5" in shown.text
    assert "optimizer.b1 0.9 \N{EN DASH}" in shown.text
    assert "ema_decay" not in shown.text
    assert "2 runs compared" in shown.text


def rows(*evaluations):
    return comparison.metric_rows(
        [
            run.Run(pathlib.Path("run"), f"run {i}", {}, [], [], records, {}, [], [], None)
            for i, records in enumerate(evaluations)
        ]
    )


def test_only_values_of_one_protocol_share_a_row():
    table = rows(
        [evaluation(), evaluation("kid", 0.1)],
        [evaluation(value=30.0), evaluation("kid", 0.2, num_samples=512)],
        [evaluation(value=31.0, protocol="other")],
    )
    assert [row["name"] for row in table] == ["frechet (pixels)", "frechet (pixels)", "kid (pixels)", "kid (pixels)"]
    values = [[[entry["value"] for entry in cell] for cell in row["cells"]] for row in table]
    assert values[0] == [["22.30"], ["30.00"], []]
    assert values[1] == [[], [], ["31.00"]]
    assert [row["differs"] for row in table] == ["protocol", "protocol", "number of samples", "number of samples"]
    assert "512 samples and 1,797 reference images" in table[3]["about"]


@pytest.mark.parametrize("field", ["features", "protocol", "num_samples", "num_reference", "reference", "samples"])
def test_each_of_what_a_value_depends_on_makes_a_row_of_its_own(field):
    changed = {field: 7 if field.startswith("num") else "other"}
    assert len(rows([evaluation()], [evaluation()])) == 1
    assert len(rows([evaluation()], [evaluation(**changed)])) == 2


def test_of_one_run_the_last_step_is_shown_and_every_seed():
    records = [
        evaluation(step=2, seed=2),
        evaluation(value=50.0),
        evaluation(value=20.0),
        evaluation(value=21.0, seed=1),
    ]
    ((row,),) = [rows(records, [])]
    assert [entry["value"] for entry in row["cells"][0]] == ["20.00", "21.00"]
    assert row["cells"][0][1]["about"] == "step 4, EMA, seed 1, 12 flow steps, 95% interval"
    assert row["cells"][1] == []


def test_samples_are_of_the_last_common_step(two, tmp_path):
    a, b = two
    for workdir, step, colour in ((a, 2, "red"), (b, 2, "blue"), (b, 6, "green")):
        Image.new("RGB", (8, 8), colour).save(workdir / "samples" / f"{step:08d}.png")
    (a / "samples" / "00000004.png").rename(a / "samples" / "00000009.png")

    def shown():
        text = write_comparison(two, tmp_path / "c.html").read_text()
        return re.findall(r'src="(data:image[^"]*)"', text), text

    uris, text = shown()
    assert [decoded(uri)[1] for uri in uris] == [(w / "samples" / "00000002.png").read_bytes() for w in two]
    assert "At step 2, the last that all have. All from seed 0" in text
    (a / "samples" / "00000002.png").unlink()
    uris, text = shown()
    assert [decoded(uri)[1] for uri in uris] == [
        (a / "samples" / "00000009.png").read_bytes(),
        (b / "samples" / "00000006.png").read_bytes(),
    ]
    assert "no step is common" in text


def test_curves_of_all_runs_are_in_one_plot(two, tmp_path):
    text = write_comparison(two, tmp_path / "c.html").read_text()
    loss = re.search(r"<figcaption>Loss</figcaption>.*?</figure>", text, re.DOTALL)[0]
    (one, *_), (other, *_) = (points_of(re.search("<svg.*?</svg>", loss, re.DOTALL)[0], c) for c in SERIES)
    np.testing.assert_allclose(one, other)  # The same run, copied.
    assert re.findall(r"</svg>([^<]+)</li>", loss) == ["digits", "other"]


def test_different_losses_are_called_different(two, tmp_path):
    said = "The runs minimise different losses"
    assert said not in write_comparison(two, tmp_path / "c.html").read_text()
    config = checkpoint.read_config(two[1])
    write_config(two[1], config | {"loss": "lr"})
    assert said in write_comparison(two, tmp_path / "c.html").read_text()


SERIES = ("var(--series-0)", "var(--series-1)")


def test_runs_of_one_name_are_told_apart_by_path(workdir, tmp_path):
    other = shutil.copytree(workdir, tmp_path / "again" / "digits")
    shown = Text(write_comparison([workdir, other], tmp_path / "c.html"))
    assert f"{workdir} · {other}" in shown.text


# --- In a browser ---


def check(found, width):
    assert found["trouble"] == []
    assert found["requests"] == []
    assert found["console"] == []
    assert found["scripts"] == 0
    assert found["width"] == width
    assert found["contentWidth"] <= width
    assert found["images"]
    assert all(image["natural"] > 0 and image["alt"] for image in found["images"])
    assert all(0 < image["shown"] <= width for image in found["images"])
    assert min(found["plots"]) >= 300  # Of a phone's 390.
    assert found["plotText"] >= 10
    assert len(found["ids"]) == len(set(found["ids"]))
    levels = [int(tag[1]) for tag, _ in found["headings"]]
    assert levels[0] == 1
    assert levels.count(1) == 1


def brightness(colour):
    return np.mean([float(part) for part in re.findall(r"[\d.]+", colour)[:3]])


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, False), (390, True)])
def test_a_report_in_a_browser(full, tmp_path, width, dark):
    found = browser.look(write_report(full), width, tmp_path, dark)
    check(found, width)
    assert len(found["images"]) == 3
    assert len(found["plots"]) == 10
    if width == 390:  # The metrics are wider than a phone, and scroll in their box.
        assert any(box["inside"] > box["shown"] for box in found["boxes"])
    light_page, light_ink = brightness(found["background"]) > 200, brightness(found["ink"]) > 200
    assert (light_page, light_ink) == (not dark, dark)
    assert len(set(found["lines"])) <= 2  # One colour, and none for what is filled.


@pytest.mark.parametrize("width", [390, 1280])
def test_a_comparison_in_a_browser(two, tmp_path, width):
    long = two[1].rename(two[1].parent / ("long" * 30))
    found = browser.look(write_comparison([two[0], long], tmp_path / "c.html"), width, tmp_path)
    check(found, width)
    assert len(found["images"]) == 2


def test_a_browser_sees_what_is_wrong(tmp_path):
    """The check itself: each kind of trouble is found."""
    page_with_trouble = tmp_path / "bad.html"
    page_with_trouble.write_text(
        """<!doctype html><html><head><meta http-equiv="Content-Security-Policy"
        content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"></head>
        <body><h1 id="a">x</h1><p id="a"></p><div style="width: 800px">wide</div>
        <img alt="outside" src="http://127.0.0.1:9/x.png"><img alt="damaged" src="data:image/png;base64,AAAA">
        </body></html>"""
    )
    found = browser.look(page_with_trouble, 390, tmp_path)
    assert found["width"] == 390
    assert found["contentWidth"] >= 800
    assert any("violation: http://127.0.0.1:9/x.png" in line for line in found["trouble"])
    assert any("error: " in line and "damaged" in line for line in found["trouble"])
    assert [image["natural"] for image in found["images"]] == [0, 0]
    assert any("127.0.0.1:9" in line for line in found["console"])
