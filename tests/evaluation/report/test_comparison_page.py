"""The comparison of runs: differing fields, comparable values, samples of one step, curves in one plot.

Covers: `report.comparison_page`.
"""

import pathlib
import re
import shutil

import numpy as np
import pytest
from page_content import Page, decoded, points_of
from PIL import Image
from recorded_run import evaluation, write_config

from fdrl_jax.evaluation.report import comparison_page, text_formats, write_comparison
from fdrl_jax.experiment import run_record
from fdrl_jax.experiment.workdir_files import read_config


def test_only_fields_that_differ_are_shown(two, tmp_path):
    fields = [text_formats.flat(read_config(workdir)) for workdir in two]
    assert comparison_page.differences(fields) == {"flow.step_size": ["3.0", "1.5"], "optimizer.b1": ["0.9", None]}
    shown = Page(write_comparison(two, tmp_path / "c.html"))
    assert "flow.step_size 3.0 1.5" in shown.text
    assert "optimizer.b1 0.9 \N{EN DASH}" in shown.text
    assert "ema_decay" not in shown.text
    assert "2 runs compared" in shown.text


def rows(*evaluations):
    return comparison_page.metric_rows(
        [
            run_record.Run(pathlib.Path("run"), f"run {i}", {}, [], [], records, {}, [], [], None)
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
def test_values_that_cannot_be_compared_are_in_different_rows(field):
    changed = {field: 7 if field.startswith("num") else "other"}
    assert len(rows([evaluation()], [evaluation()])) == 1
    assert len(rows([evaluation()], [evaluation(**changed)])) == 2


def test_a_run_shows_its_last_step_and_every_seed():
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


def test_samples_are_of_the_last_step_that_all_runs_have(two, tmp_path):
    a, b = two
    for workdir, step, colour in ((a, 2, "red"), (b, 2, "blue"), (b, 6, "green")):
        Image.new("RGB", (8, 8), colour).save(workdir / "samples" / f"{step:08d}.png")
    (a / "samples" / "00000004.png").rename(a / "samples" / "00000009.png")

    def pictures_and_text():
        text = write_comparison(two, tmp_path / "c.html").read_text()
        return re.findall(r'src="(data:image[^"]*)"', text), text

    uris, text = pictures_and_text()
    assert [decoded(uri)[1] for uri in uris] == [(w / "samples" / "00000002.png").read_bytes() for w in two]
    assert "At step 2, the last step of which all runs have samples. All are of seed 0" in text
    (a / "samples" / "00000002.png").unlink()
    uris, text = pictures_and_text()
    assert [decoded(uri)[1] for uri in uris] == [
        (a / "samples" / "00000009.png").read_bytes(),
        (b / "samples" / "00000006.png").read_bytes(),
    ]
    assert "no step has samples of all runs" in text


SERIES = ("var(--series-0)", "var(--series-1)")


def test_curves_of_all_runs_are_in_one_plot(two, tmp_path):
    text = write_comparison(two, tmp_path / "c.html").read_text()
    loss = re.search(r"<figcaption>Loss</figcaption>.*?</figure>", text, re.DOTALL)[0]
    (one, *_), (other, *_) = (points_of(re.search("<svg.*?</svg>", loss, re.DOTALL)[0], c) for c in SERIES)
    np.testing.assert_allclose(one, other)  # The second run is a copy of the first.
    assert re.findall(r"</svg>([^<]+)</li>", loss) == ["digits", "other"]


def test_curves_of_different_losses_have_a_note(two, tmp_path):
    note = "The runs minimise different losses"
    assert note not in write_comparison(two, tmp_path / "c.html").read_text()
    config = read_config(two[1])
    write_config(two[1], config | {"loss": "lr"})
    assert note in write_comparison(two, tmp_path / "c.html").read_text()


def test_runs_of_one_name_are_named_by_their_paths(workdir, tmp_path):
    other = shutil.copytree(workdir, tmp_path / "again" / "digits")
    shown = Page(write_comparison([workdir, other], tmp_path / "c.html"))
    assert f"{workdir} · {other}" in shown.text
