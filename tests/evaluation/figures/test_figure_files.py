"""`--mode=figures`: which files are written for which run.

Covers: `figures.figure_files`, `figures.figure_inputs`.
Covers: `figures.fig2_flow_of_points`, `figures.fig3_training_on_points`, `figures.fig10_samples_over_data`.
"""

import dataclasses
import json

import numpy as np
import pytest
import shrink
from toy_generator import ToyGenerator

from fdrl_jax.evaluation import figures
from fdrl_jax.evaluation.figures import fig5_metrics_by_flow_length
from fdrl_jax.experiment import builders
from fdrl_jax.types import InputError

IMAGES = {"fig4.png", "fig5.png", "fig5.json", "fig8.png", "fig8.gif", "fig8.webp", "fig9.png", "fig11.png",
          "fig12_pixels.png", "fig12_pixels_distances.png", "fig12_pixels.npz"}  # fmt: skip
POINTS = {"fig2.png", "fig3.png", "fig5.png", "fig5.json", "fig8.gif", "fig8.webp", "fig10.png", "ratio.png"}
TRANSLATION = {name.replace("fig8", "fig7") for name in IMAGES} - {"fig9.png"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", IMAGES),
        ("points", POINTS),
        pytest.param("translation", TRANSLATION, marks=pytest.mark.slow),
    ],
)
def test_all_figures_that_a_run_can_have(name, expected, request, capsys, command, monkeypatch):
    monkeypatch.setattr(fig5_metrics_by_flow_length, "_MAX_SIDE", 8)  # Larger covariances would take minutes.
    workdir = request.getfixturevalue(name)
    capsys.readouterr()  # The run may have been trained just now.
    assert command(f"--workdir={workdir}", "--num_samples=20") == 0
    folder = workdir / "figures"
    assert {path.name for path in folder.iterdir()} == expected
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(expected)
    assert all(any(line.endswith(f"{folder}/{file}") for line in lines) for file in expected)
    numbers = json.loads((folder / "fig5.json").read_text())
    assert numbers["num_samples"] == 20
    for curve in numbers["metrics"].values():
        assert curve["lengths"][0] == 3
        assert {len(values) for values in curve.values()} == {len(curve["lengths"])}
    if name != "points":
        with np.load(folder / "fig12_pixels.npz") as arrays:
            assert arrays["distances"].shape == (20, 10)
            assert 0 <= arrays["share"] <= 1


def test_the_seed_and_the_folder_can_be_chosen(digits, tmp_path, command):
    for seed in (0, 0, 1):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        assert command(f"--workdir={digits}", "--figures=fig4,fig14", f"--seed={seed}", f"--out={out}") == 0
        assert [path.name for path in out.iterdir()] == ["fig4.png"]
    one, two, three = ((tmp_path / str(i) / "fig4.png").read_bytes() for i in range(3))
    assert one == two != three


def test_without_the_data_the_figures_that_need_none_are_drawn(digits, tmp_path, monkeypatch, capsys, command):
    def gone(*args):
        raise InputError("the images are gone")

    monkeypatch.setattr(builders, "dataset", gone)
    assert command(f"--workdir={digits}", f"--out={tmp_path}", "--num_samples=4") == 0
    need_data = {name for name in IMAGES if name.startswith(("fig5", "fig12"))}
    assert {path.name for path in tmp_path.iterdir()} == IMAGES - need_data
    assert "fig12: left out: the images are gone" in capsys.readouterr().out.splitlines()
    assert command(f"--workdir={digits}", f"--out={tmp_path}", "--figures=fig12") == 2
    assert "the images are gone" in capsys.readouterr().err


def test_a_method_without_a_ratio_has_no_figure_of_a_flow(tmp_path, monkeypatch):
    build = builders.build
    monkeypatch.setattr(builders, "build", lambda config: dataclasses.replace(build(config), method=ToyGenerator()))
    shrink.trained(shrink.tiny_points(), tmp_path)
    assert [path.name for path in figures.write_figures(tmp_path, num_samples=20, progress=False)] == ["fig10.png"]
    for name in ("fig2", "fig3", "fig5", "fig8", "ratio"):
        with pytest.raises(
            InputError, match=f"{name} cannot be drawn of .*: this run's method trains no density ratio"
        ):
            figures.write_figures(tmp_path, [name])
