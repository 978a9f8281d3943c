"""Table 1: the paper's rows, and the rows of a run's own FIDs.

Covers: `figures.table1_fid`.
"""

import json

import pytest

from fdrl_jax.evaluation import figures
from fdrl_jax.types import InputError

FID = dict(metric="frechet", features="inception", value=21.9134, interval=[21.7, 22.1], num_samples=50_000,
           step=100_000, ema=True, protocol="p", dataset="cifar10")  # fmt: skip


def measured_rows(markdown):
    _, _, after = markdown.partition("| *Measured here* |")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in after.splitlines()[1:]]


def test_the_paper_s_rows_are_all_there():
    table = figures.table1([])
    assert "| FDRL-DDP (LSIF-χ²) | 22.28 | 17.77 | the paper's protocol |" in table
    assert "| ℓ-SWF | 59.70 | 38.30 | as the paper quotes it |" in table
    assert "| DDPM | 3.17 | - | as the paper quotes it |" in table
    assert table.startswith("| Method | CIFAR-10 | CelebA | FID by |\n| --- | --- | --- | --- |\n")
    assert len(table.splitlines()) == 2 + 18 + 5
    assert measured_rows(table) == []


def test_only_fids_are_added_each_with_its_protocol():
    rows = [
        FID,
        {**FID, "features": "inception-torchvision", "value": 22.4, "interval": None, "dataset": "celeba64"},
        {**FID, "features": "pixels"},
        {**FID, "metric": "precision", "value": 0.5},
        {**FID, "dataset": "shoes", "ema": False},
    ]
    table = figures.table1(rows, "mine")
    assert table.startswith("| Method | CIFAR-10 | CelebA | shoes | FID by |\n")
    name = "mine, step 100,000, 50,000 samples"
    assert measured_rows(table) == [
        [name, "21.91 [21.70, 22.10]", "-", "-", "standard FID"],
        [name, "-", "22.40", "-", "the paper's protocol"],
        [f"{name}, online parameters", "-", "-", "21.91 [21.70, 22.10]", "standard FID"],
    ]


def test_a_result_measured_again_replaces_the_first():
    rows = measured_rows(figures.table1([FID, {**FID, "value": 5.0}, {**FID, "step": 7}]))
    assert rows[0][1].startswith("5.00")
    assert len(rows) == 2


@pytest.mark.parametrize("broken", [{"value": "many"}, {"interval": [1]}, {"step": None}])
def test_an_incomplete_fid_is_refused(broken):
    with pytest.raises(InputError, match=r"a FID in evaluation\.jsonl is incomplete"):
        figures.table1([{**FID, **broken}])


def test_a_damaged_line_is_named(tmp_path, capsys):
    assert figures.read_evaluation(tmp_path) == []
    (tmp_path / "evaluation.jsonl").write_text(json.dumps(FID) + "\n\n[1]\n" + "[" * 100_000 + "\n" + json.dumps(FID))
    assert figures.read_evaluation(tmp_path) == [FID, FID]
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2
    for line, number in zip(printed, (3, 4), strict=True):
        assert f"line {number}, is not a JSON object: left out" in line


def test_the_table_s_picture_grows_with_the_rows():
    empty, one = figures.table1_picture([]), figures.table1_picture([FID])
    assert one.shape[0] > empty.shape[0]
    shaded = (one == [255, 235, 220]).all(axis=-1) | (abs(one.astype(int) - [254, 235, 219]).max(axis=-1) <= 2)
    assert shaded.sum() > 5000


def test_the_fids_of_a_run_make_a_table(digits, tmp_path, command):
    path = digits / "evaluation.jsonl"
    path.write_text(json.dumps({**FID, "dataset": "digits", "step": 4}) + "\n")
    try:
        assert command(f"--workdir={digits}", "--figures=table1", f"--out={tmp_path}") == 0
    finally:
        path.unlink()
    assert {path.name for path in tmp_path.iterdir()} == {"table1.png", "table1.md"}
    rows = measured_rows((tmp_path / "table1.md").read_text())
    assert rows == [["FDRL-DDP (LSIF-χ²), step 4, 50,000 samples", "-", "-", "21.91 [21.70, 22.10]", "standard FID"]]
