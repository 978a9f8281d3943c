"""The reference set of an evaluation: subsets of the training images, the cache, and statistics files.

Covers: `protocols.reference_set`.
"""

import json

import numpy as np
import pytest

import fdrl_jax
from fdrl_jax import cli
from fdrl_jax.evaluation import features, protocols
from fdrl_jax.evaluation.protocols import Metric
from fdrl_jax.experiment import builders
from fdrl_jax.types import InputError

FEATURES_FILE = """
import numpy as np

def rows(images):
    return images.reshape(len(images), 8, -1).astype(np.float32).mean(axis=2)
"""


def run(*argv):
    return cli.run(["main.py", "--mode=evaluate", *argv])


def training_images(model):
    return builders.dataset(model.experiment).examples


def numbers(results):
    return {result.metric: result.value for result in results}


def test_fewer_reference_images_are_a_fixed_subset(model):
    def with_reference(count):
        requested = protocols.parse("precision_recall")
        return protocols.evaluate(model, requested, num_samples=30, num_reference=count, replicates=2, progress=False)

    assert with_reference(100)[0].num_reference == 100
    assert numbers(with_reference(100)) == numbers(with_reference(100)) != numbers(with_reference(1500))
    with pytest.raises(InputError, match="num_reference=1501 must be at least 2 and at most 1500"):
        with_reference(1501)


def test_the_reference_is_cached_and_a_mismatch_is_an_error(model, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FEATURES_FILE)
    requested = protocols.parse(f"frechet@{file}:rows")

    def evaluated():
        return protocols.evaluate(
            model, requested, num_samples=30, replicates=2, cache=tmp_path / "reference", progress=False
        )[0].value

    first = evaluated()
    (file_in_cache,) = (tmp_path / "reference").iterdir()
    before = file_in_cache.stat().st_mtime_ns
    assert evaluated() == first
    assert file_in_cache.stat().st_mtime_ns == before
    file.write_text(FEATURES_FILE.replace("mean", "max"))  # Another protocol with the same name.
    with pytest.raises(InputError, match="was made of other images or by another protocol"):
        evaluated()


def test_the_cached_reference_is_used_and_not_computed_again(model, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FEATURES_FILE)
    requested = protocols.parse(f"frechet@{file}:rows")
    arguments = dict(num_samples=30, replicates=2, cache=tmp_path / "reference", progress=False)
    first = protocols.evaluate(model, requested, **arguments)[0].value
    (file_in_cache,) = (tmp_path / "reference").iterdir()
    with np.load(file_in_cache) as arrays:
        np.savez(file_in_cache, fingerprint=arrays["fingerprint"], vectors=arrays["vectors"] + 10)
    assert protocols.evaluate(model, requested, **arguments)[0].value > first + 1


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_a_statistics_file_replaces_the_reference_images(suffix, digits_run, tmp_path, capsys):
    path = tmp_path / f"statistics{suffix}"
    assert run(f"--workdir={digits_run}", "--metrics=frechet", f"--write_reference={path}") == 0
    mean, covariance = features.read_statistics(path)
    data = training_images(fdrl_jax.load(digits_run)).reshape(1500, -1).astype(np.float64)
    np.testing.assert_allclose(mean, data.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(data, rowvar=False), rtol=1e-9, atol=1e-9)
    flags = (f"--workdir={digits_run}", "--num_samples=80", "--replicates=2", "--metrics=frechet")
    assert run(*flags) == 0
    assert run(*flags, f"--reference={path}") == 0
    lines = [json.loads(line) for line in (digits_run / protocols.RESULTS_FILE).read_text().splitlines()][-2:]
    assert lines[1]["value"] == pytest.approx(lines[0]["value"], rel=1e-6)
    assert (lines[1]["num_reference"], lines[1]["reference"]) == (0, f"statistics in {path}")
    capsys.readouterr()
    before = path.read_bytes()
    assert run(f"--workdir={digits_run}", "--metrics=frechet", f"--write_reference={path}") == 2
    assert f"{path} already exists: name another file" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert run(*flags[:-1], "--metrics=precision_recall", f"--reference={path}") == 2
    assert "precision_recall compares examples" in capsys.readouterr().err


def test_statistics_of_another_protocol_are_refused(model, tmp_path):
    protocols.write_reference(model, Metric("frechet", "pixels"), tmp_path / "pixels.npz")
    (tmp_path / "mine.py").write_text(FEATURES_FILE)
    with pytest.raises(InputError, match="was made by another protocol"):
        protocols.evaluate(
            model,
            protocols.parse(f"frechet@{tmp_path / 'mine.py'}:rows"),
            num_samples=30,
            reference=tmp_path / "pixels.npz",
            progress=False,
        )
