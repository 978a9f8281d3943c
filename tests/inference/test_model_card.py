"""The model card of an exported folder: metrics, the example, and licences."""

import re
import shutil

from fdrl_jax import cli
from fdrl_jax.evaluation.protocols.results_file import Result, write_results
from fdrl_jax.inference.export import export


def result(**changes):
    fields = dict(metric="frechet", features="inception", name="fid", protocol="a | b", value=12.345, confidence=0.95)
    fields |= dict(interval=(12.0, 13.0), num_samples=50_000, num_reference=1500, dataset="digits", seed=0, step=4)
    fields |= dict(reference="/home/anna/stats.npz", samples="the model's", ema=True, flow_steps=5, warnings=("few",))
    return Result(**{**fields, "versions": {}, "device": "cpu", "date": "2026-11-22", "seconds": 1.0, **changes})


def test_the_card_has_the_metrics_of_these_parameters_with_protocol_and_interval(runs, tmp_path):
    shutil.copytree(runs / "digits", tmp_path / "run")
    others = [result(value=98765.0, **changes) for changes in ({"step": 2}, {"ema": False}, {"samples": "other.npz"})]
    write_results(tmp_path / "run", [result(value=77777.0), result(), *others])
    out = export(tmp_path / "run", tmp_path / "model", num_samples=5, progress=False)
    card = (out / "README.md").read_text()
    row = "| fid (frechet in inception) | 12.35 | 95%: 12 to 13 | 50000, 5 flow steps | 1500 stats.npz | "
    assert row + "a \\| b; warning: few |" in card
    assert "7.778e" not in card  # This value was measured again later.
    assert "9.876e" not in card
    assert "3 results of other parameters, or of given samples, are left out." in card
    reduced = export(tmp_path / "run", tmp_path / "low", rank=3, num_samples=5, progress=False)
    assert "measured with the run's own prior" in (reduced / "README.md").read_text()
    assert "measured with the run's own prior" not in card


def test_the_card_without_metrics_says_how_to_get_them(folder):
    assert "None of these parameters: `python main.py --mode=evaluate`" in (folder / "README.md").read_text()


def test_the_cards_example_runs(folder):
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    namespace = {}
    exec(code.replace("FOLDER", str(folder)), namespace)
    assert namespace["images"].shape == (64, 8, 8, 1)
    assert namespace["ratios"].shape == (64,)


def test_the_card_has_the_licence_of_the_flag(runs, tmp_path):
    out = tmp_path / "model"
    flags = ("--mode=export", f"--workdir={runs / 'points'}", f"--out={out}", "--data_licence=CC0, mine")
    assert cli.run(["main.py", *flags, "--num_samples=5"]) == 0
    assert "- **Training data**: CC0, mine." in (out / "README.md").read_text()
