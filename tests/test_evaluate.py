"""`--mode=evaluate`: what is compared, how sure a number is, and what is refused."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import shrink
from PIL import Image

import fdrl_jax
import main
from fdrl_jax import builders, evaluate, evaluation, features
from fdrl_jax.evaluate import Metric
from fdrl_jax.pixels import to_float, to_uint8
from fdrl_jax.types import InputError

FEATURES_FILE = """
import numpy as np

def rows(images):
    return images.reshape(len(images), 8, -1).astype(np.float32).mean(axis=2)
"""


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("digits") / "run"
    shrink.trained(shrink.tiny_digits(), workdir)
    return workdir


@pytest.fixture(scope="module")
def model(digits_run):
    return fdrl_jax.load(digits_run)


@pytest.fixture(scope="module")
def points_run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("points") / "run"
    shrink.trained(shrink.tiny_points(), workdir)
    return workdir


def run(*argv):
    return main.run(["main.py", "--mode=evaluate", *argv])


def training_images(model):
    return builders.dataset(model.experiment).examples


def numbers(results):
    return {result.metric: result.value for result in results}


# --- names ---


def test_names_are_metric_at_features():
    assert evaluate.parse("fid, fid-paper,kid,precision_recall,frechet@lite0,kid@pixels") == [
        Metric("frechet", "inception", "fid"),
        Metric("frechet", "inception-torchvision", "fid-paper"),
        Metric("kid", "inception", "kid"),
        Metric("precision_recall", "pixels", ""),
        Metric("frechet", "lite0", ""),
        Metric("kid", "pixels", ""),
    ]


@pytest.mark.parametrize(
    ("names", "message"), [("", "empty"), ("fidd", "did you mean 'fid'"), ("frechet@", "'frechet@'")]
)
def test_unknown_names_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        evaluate.parse(names)


# --- numbers ---


def test_the_training_images_themselves_are_perfect(model):
    metrics = evaluate.parse("precision_recall,density_coverage,frechet,sliced_wasserstein,kid@pixels")
    results = evaluate.evaluate(model, metrics, num_samples=1, samples=training_images(model), replicates=3)
    found = numbers(results)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)
    # Each image lies in its own ball, and in as many others' as reach it: k + 1 on average but for ties.
    assert found["density"] == pytest.approx(6 / 5, abs=0.02)
    assert abs(found["frechet"]) < 1e-6 * np.var(training_images(model)) * 64
    assert found["sliced_wasserstein"] == pytest.approx(0, abs=6)  # In another order: all of them, so exactly none.
    assert {result.num_samples for result in results} == {1500} == {result.num_reference for result in results}


def test_numbers_are_those_of_the_functions_on_rounded_samples(model):
    samples = fdrl_jax.sample(model, 3, 40, num_steps=2, progress=False)
    metrics = evaluate.parse("precision_recall,frechet,density_coverage")
    results = evaluate.evaluate(model, metrics, num_samples=40, seed=3, num_steps=2, replicates=5, progress=False)
    found, data = numbers(results), training_images(model)
    assert evaluation.precision_recall(data, to_uint8(samples)) == (found["precision"], found["recall"])
    a, b = (evaluation.Moments([to_uint8(samples).reshape(40, -1)]), evaluation.Moments([data.reshape(1500, -1)]))
    assert found["frechet"] == pytest.approx(
        evaluation.frechet_distance(b.mean, b.covariance, a.mean, a.covariance),
        rel=1e-7,  # The root of an eigenvalue that is 0 to rounding is right to 1e-8.
    )
    density = evaluation.neighbourhoods(data, to_uint8(samples), 5).terms()["density"].mean()
    assert found["density"] == pytest.approx(density)
    frechet = next(result for result in results if result.metric == "frechet")
    assert frechet.warnings[0].startswith("40 samples in 64 dimensions: their covariance has rank 39, and")
    assert len(frechet.warnings) == 1  # There are more reference images than dimensions.
    assert (frechet.seed, frechet.flow_steps, frechet.step, frechet.ema) == (3, 2, 4, True)
    assert frechet.interval[0] < frechet.value < frechet.interval[1]


def test_given_samples_in_every_form_give_one_number(model, tmp_path):
    samples = fdrl_jax.sample(model, 0, 20, progress=False)
    np.savez(tmp_path / "samples.npz", samples=samples)
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, image in enumerate(to_uint8(samples)):
        Image.fromarray(image[..., 0]).save(folder / f"{i:03d}.png")
    forms = [None, samples, to_uint8(samples), tmp_path / "samples.npz", folder]
    values = [
        evaluate.evaluate(model, evaluate.parse("frechet"), num_samples=20, samples=form, replicates=2, progress=False)[
            0
        ].value
        for form in forms
    ]
    assert values == [values[0]] * len(forms)


def test_fewer_reference_images_are_a_fixed_part(model):
    def with_reference(count):
        metrics = evaluate.parse("precision_recall")
        return evaluate.evaluate(model, metrics, num_samples=30, num_reference=count, replicates=2, progress=False)

    assert with_reference(100)[0].num_reference == 100
    assert numbers(with_reference(100)) == numbers(with_reference(100)) != numbers(with_reference(1500))
    with pytest.raises(InputError, match="num_reference=1501 must be at least 2 and at most 1500"):
        with_reference(1501)


def test_points_are_compared_with_fresh_draws(points_run, capsys):
    assert run(f"--workdir={points_run}", "--metrics=sliced_wasserstein,precision_recall", "--num_samples=50") == 0
    lines = [json.loads(line) for line in (points_run / evaluate.RESULTS_FILE).read_text().splitlines()]
    assert [line["metric"] for line in lines] == ["sliced_wasserstein", "precision", "recall"]
    assert lines[0]["reference"] == "fresh draws of gaussian"
    assert lines[0]["value"] > 0
    assert run(f"--workdir={points_run}", "--metrics=frechet@lite0", "--num_samples=5") == 2
    assert "'lite0' are of images, and this run makes points" in capsys.readouterr().err


# --- what is written ---


def test_results_are_appended_with_all_they_depend_on(digits_run, capsys):
    flags = (f"--workdir={digits_run}", "--num_samples=25", "--replicates=2", "--noema", "--kappa=0", "--seed=7")
    assert run(*flags, "--metrics=frechet") == 0
    assert run(*flags, "--metrics=precision_recall", "--step=2") == 0
    lines = [json.loads(line) for line in (digits_run / evaluate.RESULTS_FILE).read_text().splitlines()]
    assert [(line["metric"], line["step"]) for line in lines] == [("frechet", 4), ("precision", 2), ("recall", 2)]
    assert set(lines[0]) == {field.name for field in dataclasses.fields(evaluate.Result)}
    first = lines[0]
    assert (first["ema"], first["flow_steps"], first["seed"], first["confidence"]) == (False, 3, 7, 0.95)
    assert first["versions"]["fdrl_jax"] == fdrl_jax.__version__
    assert "warning: 25 samples in 64 dimensions" in capsys.readouterr().out


def test_the_best_checkpoint_is_the_one_evaluated(digits_run):
    best = json.loads((digits_run / "best.json").read_text())
    assert run(f"--workdir={digits_run}", "--step=best", "--metrics=frechet", "--num_samples=5", "--replicates=2") == 0
    last = json.loads((digits_run / evaluate.RESULTS_FILE).read_text().splitlines()[-1])
    assert last["step"] == best["step"]


# --- the reference ---


def test_the_reference_is_kept_and_a_mismatch_is_an_error(model, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FEATURES_FILE)
    metrics = evaluate.parse(f"frechet@{file}:rows")

    def measured():
        return evaluate.evaluate(
            model, metrics, num_samples=30, replicates=2, cache=tmp_path / "reference", progress=False
        )[0].value

    first = measured()
    (kept,) = (tmp_path / "reference").iterdir()
    before = kept.stat().st_mtime_ns
    assert measured() == first
    assert kept.stat().st_mtime_ns == before
    file.write_text(FEATURES_FILE.replace("mean", "max"))  # Another protocol by the same name.
    with pytest.raises(InputError, match="was made of other images or by another protocol"):
        measured()


def test_the_kept_reference_is_used_and_not_made_again(model, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FEATURES_FILE)
    metrics = evaluate.parse(f"frechet@{file}:rows")
    arguments = dict(num_samples=30, replicates=2, cache=tmp_path / "reference", progress=False)
    first = evaluate.evaluate(model, metrics, **arguments)[0].value
    (kept,) = (tmp_path / "reference").iterdir()
    with np.load(kept) as arrays:
        np.savez(kept, fingerprint=arrays["fingerprint"], vectors=arrays["vectors"] + 10)
    assert evaluate.evaluate(model, metrics, **arguments)[0].value > first + 1


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_statistics_files_stand_in_for_the_images(suffix, digits_run, tmp_path, capsys):
    path = tmp_path / f"statistics{suffix}"
    assert run(f"--workdir={digits_run}", "--metrics=frechet", f"--write_reference={path}") == 0
    mean, covariance = features.read_statistics(path)
    data = training_images(fdrl_jax.load(digits_run)).reshape(1500, -1).astype(np.float64)
    np.testing.assert_allclose(mean, data.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(data, rowvar=False), rtol=1e-9, atol=1e-9)
    flags = (f"--workdir={digits_run}", "--num_samples=80", "--replicates=2", "--metrics=frechet")
    assert run(*flags) == 0
    assert run(*flags, f"--reference={path}") == 0
    lines = [json.loads(line) for line in (digits_run / evaluate.RESULTS_FILE).read_text().splitlines()][-2:]
    assert lines[1]["value"] == pytest.approx(lines[0]["value"], rel=1e-6)
    assert (lines[1]["num_reference"], lines[1]["reference"]) == (0, f"statistics in {path}")
    capsys.readouterr()
    before = path.read_bytes()
    assert run(f"--workdir={digits_run}", "--metrics=frechet", f"--write_reference={path}") == 2
    assert f"{path} is there already: name another file" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert run(*flags[:-1], "--metrics=precision_recall", f"--reference={path}") == 2
    assert "precision_recall compares examples" in capsys.readouterr().err


def test_statistics_of_another_protocol_are_refused(model, tmp_path):
    evaluate.write_reference(model, Metric("frechet", "pixels"), tmp_path / "pixels.npz")
    (tmp_path / "mine.py").write_text(FEATURES_FILE)
    with pytest.raises(InputError, match="was made by another protocol"):
        evaluate.evaluate(
            model,
            evaluate.parse(f"frechet@{tmp_path / 'mine.py'}:rows"),
            num_samples=30,
            reference=tmp_path / "pixels.npz",
            progress=False,
        )


# --- what is refused ---


def test_samples_in_a_folder_are_png_and_evaluate_as_the_models_own(digits_run, tmp_path, capsys):
    out = f"{tmp_path}/folder/"
    flags = (f"--workdir={digits_run}", "--num_samples=30", "--seed=2")
    assert main.run(["main.py", "--mode=sample", *flags, f"--out={out}", "--batch_size=16"]) == 0
    files = sorted(pathlib.Path(out).iterdir())
    assert [file.name for file in files] == [f"{i:06d}.png" for i in range(30)]
    expected = fdrl_jax.sample(fdrl_jax.load(digits_run), 2, 30, progress=False)
    np.testing.assert_array_equal(np.stack([np.asarray(Image.open(f)) for f in files]), to_uint8(expected)[..., 0])
    assert np.abs(to_float(to_uint8(expected)) - expected).max() < 1 / 255 + 1e-6
    assert main.run(["main.py", "--mode=sample", *flags, f"--out={out}"]) == 2
    assert "is there already: name a new folder, or an empty one" in capsys.readouterr().err
