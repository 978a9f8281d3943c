"""Export of a model to a folder: the same samples anywhere, a prior of lower rank, what is refused, and the Hub.

Covers: `export`.
"""

import json
import pathlib
import re
import shutil
import sys
import types

import jax
import numpy as np
import pytest
import tiny_data
from PIL import Image

import fdrl_jax
from fdrl_jax import cli, priors
from fdrl_jax.experiment import exported_model
from fdrl_jax.inference.export import export
from fdrl_jax.models import convert
from fdrl_jax.types import InputError


def draw(model, **options):
    return fdrl_jax.sample(model, 3, 5, progress=False, **options)


@pytest.mark.parametrize(
    ("name", "ema"), [("digits", True), ("digits", False), ("low", True), ("points", True), ("cats", True)]
)
def test_samples_are_those_of_the_run_bit_for_bit_without_the_run(name, ema, runs, tmp_path):
    expected = draw(fdrl_jax.load(runs / name, ema=ema))
    export(runs / name, tmp_path / "model", ema=ema, num_samples=5, progress=False)
    shutil.move(tmp_path / "model", tmp_path / "elsewhere")
    model = fdrl_jax.load(tmp_path / "elsewhere", ema=ema)
    np.testing.assert_array_equal(draw(model), expected)
    assert model.step == (1 if name == "low" else 4)
    x = np.asarray(expected)
    np.testing.assert_array_equal(model.ratio_fn(x), fdrl_jax.load(runs / name, ema=ema).ratio_fn(x))


def test_an_older_step_can_be_exported(runs, tmp_path):
    export(runs / "points", tmp_path / "model", step=2, num_samples=5, progress=False)
    model = fdrl_jax.load(tmp_path / "model")
    assert model.step == 2
    np.testing.assert_array_equal(draw(model), draw(fdrl_jax.load(runs / "points", step=2)))


def test_the_folder_has_five_files_of_the_same_permissions(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "prior.safetensors",
        "samples.png",
    ]
    assert {path.name for path in folder.parent.iterdir()} == {"model"}
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1
    with Image.open(folder / "samples.png") as image:
        assert image.size == (3 * 42 + 2, 2 * 42 + 2)


def test_the_size_is_printed_before_anything_is_written(runs, tmp_path, capsys, monkeypatch):
    printed = []
    monkeypatch.setattr(exported_model, "write", lambda *_: printed.append(capsys.readouterr().out) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(runs / "digits", tmp_path / "model", num_samples=5, progress=False)
    assert re.search(r"prior.safetensors 16.2 KiB \(the data's Gaussian, exact\)", printed[0])
    assert list(tmp_path.iterdir()) == []  # No part of the folder is left after the error.


def test_a_warning_says_that_the_source_domain_is_exported(runs, tmp_path, capsys):
    out = export(runs / "cats", tmp_path / "model", num_samples=5, progress=False)
    warning = f"{tiny_data.COUNT} images of the source domain, as they are: sharing it shares them"
    assert warning in capsys.readouterr().out
    card = (out / "README.md").read_text()
    assert warning in card
    assert "pipeline_tag: image-to-image" in card
    assert "- **Source domain**: the user's own images" in card


def test_no_path_of_this_machine_is_exported(runs, tmp_path):
    out = export(runs / "cats", tmp_path / "model", num_samples=5, progress=False)
    config = json.loads((out / "config.json").read_text())["config"]
    assert (config["data"]["path"], config["data"]["cache"], config["prior"]["path"]) == ("data", "cache", "prior")
    for name in ("config.json", "README.md"):
        assert str(runs) not in (out / name).read_text()


# --- Rank ---


def test_a_lower_rank_is_the_nearest_and_keeps_each_pixels_variance(runs, tmp_path, capsys):
    exact = fdrl_jax.load(runs / "digits").prior
    out = export(runs / "digits", tmp_path / "model", rank=20, num_samples=5, progress=False)
    low = fdrl_jax.load(out).prior
    assert isinstance(low, priors.LowRankGaussian)
    covariance = np.asarray(exact.factor, np.float64) @ np.asarray(exact.factor).T
    np.testing.assert_allclose(
        np.square(low.basis).sum(1) + np.square(low.residual).ravel(), np.diag(covariance), rtol=1e-4
    )
    values = np.linalg.eigvalsh(covariance)[::-1]
    np.testing.assert_allclose(np.square(low.basis).sum(), values[:20].sum(), rtol=1e-3)
    assert f"keeps {values[:20].sum() / values.sum():.1%}"[:-3] in capsys.readouterr().out
    assert (out / "prior.safetensors").stat().st_size < 8000
    assert "a Gaussian of rank 20 fitted to the data" in (out / "README.md").read_text()
    assert draw(fdrl_jax.load(out)).shape == (5, 8, 8, 1)


@pytest.mark.parametrize(
    ("name", "rank", "message"),
    [
        ("points", 3, "--rank=3 is for an exact data-dependent prior, and this one is a standard normal"),
        ("low", 3, "and this one is a Gaussian of rank 5"),
        ("digits", 65, "prior.rank = 65 must be from 1 to 64"),
    ],
)
def test_a_rank_that_the_prior_cannot_have_is_refused_in_one_line(name, rank, message, runs, tmp_path):
    with pytest.raises(InputError, match=message):
        export(runs / name, tmp_path / "model", rank=rank, progress=False)
    assert list(tmp_path.iterdir()) == []


# --- What is refused ---


def test_nothing_is_overwritten(runs, tmp_path, capsys):
    out = tmp_path / "model"
    out.mkdir()
    (out / "mine").write_text("kept")
    assert cli.run(["main.py", "--mode=export", f"--workdir={runs / 'points'}", f"--out={out}"]) == 2
    assert "is there already: name a new folder" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["mine"]
    (out / "mine").unlink()
    assert export(runs / "points", out, num_samples=5, progress=False) == out  # An empty folder is accepted.


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--workdir={runs}/none", "--out={tmp}/model"), "none holds no training run"),
        (("--workdir={runs}/points",), "--out is missing: the folder to export to"),
        (("--workdir={runs}/points", "--out={tmp}/no/model"), "no/model cannot be made: check"),
        (("--workdir={runs}/points", "--out={tmp}/model", "--rank=0"), "--rank=0: 0 is not an integer in the range [1"),
        (("--workdir={runs}/points", "--out={tmp}/model", "--step=last"), "--step=last must be the number"),
        (("--workdir={runs}/points", "--out={tmp}/model", "--every=2"), "--every is a flag of --mode=sample, not of"),
    ],
)
def test_bad_flags_are_one_line(flags, message, runs, tmp_path, capsys):
    assert cli.run(["main.py", "--mode=export", *(flag.format(runs=runs, tmp=tmp_path) for flag in flags)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_an_exported_model_is_not_exported_again(folder, tmp_path):
    with pytest.raises(InputError, match="is an exported model, not a run: copy it"):
        export(folder, tmp_path / "again", progress=False)


def test_a_full_disk_is_noticed_before_writing(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"has 1.0 KiB free, and .* are to be written"):
        export(runs / "digits", tmp_path / "model", progress=False)


def edit(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json is missing: copy the folder again"),
        (lambda f: (f / "config.json").write_text("{"), "is not the config of an exported model"),
        (lambda f: (f / "config.json").write_text("[]"), "is not the config of an exported model"),
        (lambda f: edit(f / "config.json", format=2), "is of format 2, made by a newer fdrl_jax"),
        (lambda f: edit(f / "config.json", step="4"), "step = '4'"),
        (lambda f: edit(f / "config.json", config={}), r"config.json: config\..* is missing"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is not a file"),
        (lambda f: flip_a_bit(f / "model.safetensors"), "its numbers are not those that were written"),
        (lambda f: flip_a_bit(f / "prior.safetensors"), "its numbers are not those that were written"),
        (lambda f: (f / "prior.safetensors").unlink(), r"has nothing as 'mean'.*restore .*prior\.safetensors"),
        (
            lambda f: (f / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
            "Git LFS has not fetched it",
        ),
        (lambda f: shutil.copy(f / "prior.safetensors", f / "model.safetensors"), "factor is .* there and absent by"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(change, message, folder):
    change(folder)
    with pytest.raises(InputError, match=message) as caught:
        fdrl_jax.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ema": False}, r"has only the averaged \(EMA\) parameters, not the online ones: pass ema=True"),
        ({"step": 2}, "step is not for an exported model, and .* is one: leave it out"),
        ({"prior": "uniform"}, "prior is not for an exported model"),
    ],
)
def test_options_that_an_exported_model_lacks_are_refused_in_one_line(options, message, folder):
    with pytest.raises(InputError, match=message):
        fdrl_jax.load(folder, **options)


# --- The Hub, with a cache in its own layout: blobs, and a snapshot of links to them ---


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    """Replace huggingface_hub by a stand-in with one model, and return the list of its calls."""
    cache = tmp_path / "hub" / "models--anna--digits"
    (cache / "blobs").mkdir(parents=True)
    snapshot = cache / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    for i, path in enumerate(sorted(folder.iterdir())):
        shutil.move(path, cache / "blobs" / str(i))
        (snapshot / path.name).symlink_to(pathlib.Path("..", "..", "blobs", str(i)))
    calls = []

    def snapshot_download(repo_id, *, revision=None, allow_patterns=None):
        calls.append((repo_id, revision, allow_patterns))
        if repo_id != "anna/digits":
            raise OSError(f"404 Client Error: {repo_id}\nRepository Not Found")
        return str(snapshot)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    return calls


@pytest.mark.parametrize(("address", "revision"), [("hf://anna/digits", None), ("hf://anna/digits@v1.0", "v1.0")])
def test_a_model_of_the_hub(address, revision, hub, runs):
    np.testing.assert_array_equal(draw(fdrl_jax.load(address)), draw(fdrl_jax.load(runs / "digits")))
    # No other file of the repository is downloaded.
    assert hub == [("anna/digits", revision, ["config.json", "model.safetensors", "prior.safetensors"])]


@pytest.mark.parametrize(
    ("address", "options", "message"),
    [
        ("hf://anna", {}, "hf://anna must be hf://USER/NAME or"),
        ("hf://anna/digits@", {}, "must be hf://USER/NAME or"),
        ("hf://anna/other", {}, r"hf://anna/other cannot be downloaded \(404 Client Error: anna/other\)"),
        ("hf://anna/digits", {"step": 3}, "step is not for an exported model, and hf://anna/digits is one"),
    ],
)
def test_an_address_without_a_model_is_refused_in_one_line(address, options, message, hub):
    with pytest.raises(InputError, match=message) as caught:
        fdrl_jax.load(address, **options)
    assert "\n" not in str(caught.value)


def test_without_the_extra_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"needs the package huggingface_hub: pip install 'fdrl_jax\[hub\]'"):
        fdrl_jax.load("hf://anna/digits")


def test_arrays_of_any_kind_come_back(tmp_path):
    arrays = {
        "a": np.arange(6, dtype=np.uint8).reshape(2, 3).T,
        "b": np.float32(2.5) * np.ones(()),
        "c": np.zeros((0,)),
    }
    convert.write_safetensors(tmp_path / "x.safetensors", arrays)
    result = convert.read_safetensors(tmp_path / "x.safetensors")
    jax.tree.map(np.testing.assert_array_equal, result, arrays)
