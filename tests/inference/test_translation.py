"""Translation: images flow to the domain of the data, in Python and from folder to folder."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import real_files
import shrink
import tiny_data
from PIL import Image

import fdrl_jax
from configs import emoji_translation64, fashion_translation
from fdrl_jax import cli, data, priors
from fdrl_jax.experiment import builders
from fdrl_jax.inference import translation
from fdrl_jax.inference.translation_fidelity import rmse
from fdrl_jax.types import InputError
from fdrl_jax.utils import plotting, rng


@pytest.fixture(scope="module")
def fashion(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fashion")
    config = shrink.shrink(fashion_translation.get_config(), num_steps=2, folder=folder)
    del config["diagnostics"]
    return shrink.trained(config, folder / "run")


@pytest.fixture(scope="module")
def emoji(tmp_path_factory):
    """The folder of a shrunk run of Google's emoji to Twitter's: run/, prior/ (its source) and data/."""
    folder = tmp_path_factory.mktemp("emoji")
    config = shrink.shrink(emoji_translation64.get_config(), num_steps=2, folder=folder)
    del config["diagnostics"]
    config.optimizer.learning_rate = 0.01  # Large, so that a few steps make a visible flow.
    config.model.update(stages=((8, 1, 2),), attention=1)
    config.flow.kappa = 1
    shrink.trained(config, folder / "run")
    return folder


def some_images(model, n):
    return np.random.default_rng(0).integers(0, 256, (n, *model.experiment.event_shape)).astype(np.uint8)


def translate(model, images, key, **kwargs):
    return fdrl_jax.translate(model, images, key, progress=False, **kwargs)


# --- translate ---


def test_no_steps_are_the_images_with_trainings_noise(fashion):
    images = some_images(fashion, 3)
    sigma = fashion.experiment.config["data"]["dequantize_sigma"]
    out = translate(fashion, images, 0, num_steps=0)
    assert (out.shape, out.dtype) == (images.shape, np.float32)
    noise = (out - (images / 127.5 - 1))[np.abs(out) < 1]  # Other pixels were clipped.
    # There are 2352 draws, less those clipped: the standard error of the deviation is 1.5% of it, of the mean 2.1%.
    np.testing.assert_allclose(noise.std(), sigma, rtol=0.06)
    np.testing.assert_allclose(noise.mean(), 0, atol=0.1 * sigma)


def test_translation_is_the_flow_of_the_model(fashion):
    images, root = some_images(fashion, 2), jax.random.key(3)
    start = translate(fashion, images * 0 + 128, root, num_steps=0)  # Grey, so that no noise is clipped.
    # The definition, Eq. 9, step by step with the streams of `rng`.
    recipe = fashion.experiment.method.recipe
    keys = rng.per_sample(rng.stream(root, "flow"), 2)
    x = jax.numpy.asarray(start)
    for k in range(4):
        gradient = jax.grad(lambda x: recipe.f_prime(recipe.estimator.apply(fashion.params, x)).sum())(x)
        xi = jax.numpy.stack([jax.random.normal(jax.random.fold_in(key, k), x.shape[1:]) for key in keys])
        x = x - recipe.step_size * gradient + recipe.noise * xi
    np.testing.assert_allclose(translate(fashion, images * 0 + 128, root, num_steps=4), np.clip(x, -1, 1), atol=2e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 50])
def test_an_image_does_not_depend_on_the_batch_or_its_neighbours(fashion, batch_size):
    images = some_images(fashion, 5)
    expected = translate(fashion, images, 0)
    np.testing.assert_allclose(translate(fashion, images, 0, batch_size=batch_size), expected, atol=2e-5)
    others = np.where(np.arange(5)[:, None, None, None] == 2, images, 255 - images)
    np.testing.assert_allclose(translate(fashion, others, 0)[2], expected[2], atol=2e-5)
    assert np.abs(translate(fashion, images, 1) - expected).max() > 0.05  # Another seed gives other noise.


def test_floats_and_bytes_give_the_same_and_are_not_changed(fashion):
    images = some_images(fashion, 3)
    floats = images.astype(np.float32) / 127.5 - 1
    original = floats.copy()
    np.testing.assert_allclose(translate(fashion, floats, 0), translate(fashion, images, 0), atol=2e-5)
    np.testing.assert_array_equal(floats, original)


def test_a_translation_is_defined_without_noise_too(fashion, tmp_path):
    quiet = dataclasses.replace(fashion, prior=priors.Empirical(fashion.prior.images, noise=0.0))
    floats = some_images(fashion, 3).astype(np.float32) / 127.5 - 1
    original = floats.copy()
    np.testing.assert_array_equal(translate(quiet, floats, 0, num_steps=0), original)
    assert np.abs(translate(quiet, floats, 0) - original).max() > 0
    np.testing.assert_array_equal(floats, original)  # The flow donates its buffers, but must not take the caller's.


def test_the_trajectory_goes_from_input_to_output(fashion):
    images = some_images(fashion, 3)
    steps, states = translation.trajectory(fashion, images, 0, every=3, num_steps=7, progress=False)
    assert steps.tolist() == [0, 3, 6, 7]
    np.testing.assert_allclose(states[0], translate(fashion, images, 0, num_steps=0), atol=1e-6)
    np.testing.assert_allclose(states[-1], translate(fashion, images, 0, num_steps=7), atol=2e-5)


def test_a_model_with_another_prior_is_refused(tmp_path):
    model = shrink.trained(shrink.tiny_digits(num_steps=1), tmp_path)
    with pytest.raises(InputError, match=r"Gaussian prior: to translate images, train with prior.name = 'dataset'"):
        translate(model, some_images(model, 1), 0)
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="Gaussian prior: to translate images"):
        translation.translate_folder(model, tmp_path / "in", tmp_path / "out", seed=0)


# --- classes as domains ---


def test_data_and_prior_are_the_images_of_their_classes(tmp_path):
    config = fashion_translation.get_config()
    config.data.update(path=str(real_files.fashion_mnist()), cache=str(tmp_path), split="test")
    config.prior.path = config.data.path
    experiment = builders.build(config)
    boots = builders.dataset(experiment, progress=False)
    sneakers = builders.fit_prior(experiment, boots, progress=False).images
    reader = data.readers.idx(config.data.path, "test")
    np.testing.assert_array_equal(boots.examples, reader.images[reader.labels == 9])
    np.testing.assert_array_equal(sneakers, reader.images[reader.labels == 7])
    config.data.split = "train"
    held_out = builders.held_out(builders.build(config), progress=False)
    np.testing.assert_array_equal(held_out, boots.examples)


def test_a_class_without_images_is_refused(tmp_path):
    config = shrink.shrink(fashion_translation.get_config(), folder=tmp_path)
    config.data.label = 3
    with pytest.raises(InputError, match=r"config.data.label = 3 is the class of no image: there are 9"):
        builders.dataset(builders.build(config))
    config.data.label, config.prior.label = 9, 4
    with pytest.raises(InputError, match=r"config.prior.label = 4 is the class of no image: there are 7"):
        builders.prior_source(builders.build(config))
    emoji = shrink.shrink(emoji_translation64.get_config(), folder=tmp_path / "emoji")
    emoji.prior.label = 0
    with pytest.raises(InputError, match=r"config.prior.label = 0 chooses a class, but the images have no labels"):
        builders.prior_source(builders.build(emoji))


def test_strips_put_items_under_one_another():
    top, bottom = np.full((3, 40, 40, 1), -1.0), np.full((3, 40, 40, 1), 1.0)
    picture = plotting.strips(top, bottom, columns=2)
    for y, x, grey in ((10, 10, 0), (10, 60, 0), (60, 10, 255)):
        assert (picture[y, x] == grey).all()
    below = picture[84:]  # The second strip: one item.
    dark = np.flatnonzero((below == 0).all(axis=(-1))[:, 10])
    assert len(dark) == 40
    assert (below[dark[0], 60] == 255).all()


# --- from folder to folder ---


def run(*argv):
    return cli.run(["main.py", "--mode=translate", *map(str, argv)])


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_folder_is_translated(emoji, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    inputs = real_files.colour_pictures("computed", 5, 70, 70)
    kinds = {"b.png": "PNG", "a.jpg": "JPEG", "deep/c.webp": "WEBP", "deep/d.PNG": "PNG", "deep/deeper/e.jpeg": "JPEG"}
    real_files.write_files(
        source, {n: real_files.encoded(x, kind) for (n, kind), x in zip(kinds.items(), inputs, strict=True)}
    )
    truth = tmp_path / "truth"
    real_files.write_files(
        truth,
        {f"{n}.png": real_files.encoded(x, "PNG") for n, x in zip(("b", "deep/c", "other"), inputs, strict=False)},
    )
    flags = (f"--workdir={emoji / 'run'}", f"--input={source}", "--seed=3")
    assert run(*flags, f"--out={out}", f"--truth={truth}", "--batch_size=2") == 0
    output = capsys.readouterr().out
    assert f"5 images from {source} are in {out}" in output
    assert "2 of the images have a true partner" in output
    files = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert files == ["a.png", "b.png", "deep/c.png", "deep/d.png", "deep/deeper/e.png"]
    # In Python, the same is translated from the transformed files in the order of their names.
    model = fdrl_jax.load(emoji / "run")
    transform = builders.data_transform(model.experiment.config["data"])
    images = np.stack([transform(Image.open(source / name)) for name in sorted(kinds)])
    expected = translate(model, images, 3)
    for file, image in zip(files, expected, strict=True):
        written = read(out / file)
        assert written.shape == (16, 16, 3)
        np.testing.assert_allclose(written / 127.5 - 1, image, atol=1 / 255 + 2e-5)
    assert read(tmp_path / "out-sheet.png").ndim == read(tmp_path / "out-flow.png").ndim == 3
    measured = json.loads((tmp_path / "out-fidelity.json").read_text())
    assert measured.keys() == {"input_low_frequency_rmse"} | {
        f"{a}_{b}" for a in ("truth", "untranslated") for b in ("rmse", "ssim")
    }
    partners = np.stack([transform(Image.open(truth / f"{name}.png")) for name in ("b", "deep/c")])
    chosen = images[[1, 2]] / 127.5 - 1, partners / 127.5 - 1
    np.testing.assert_allclose(measured["untranslated_rmse"]["own"], rmse(*chosen).mean(), rtol=1e-5)


@pytest.mark.slow
def test_emoji_have_their_truth_by_file_name(emoji, tmp_path, capsys):
    # The tiny files of both vendors have the same names and pixels, so the untranslated inputs have perfect scores.
    flags = (f"--workdir={emoji / 'run'}", f"--input={emoji / 'prior'}", f"--truth={emoji / 'data'}")
    assert run(*flags, f"--out={tmp_path / 'out'}") == 0
    assert f"{tiny_data.COUNT} of the images have a true partner" in capsys.readouterr().out
    measured = json.loads((tmp_path / "out-fidelity.json").read_text())
    assert (measured["untranslated_rmse"]["own"], measured["untranslated_ssim"]["own"]) == (0, pytest.approx(1))
    assert measured["truth_rmse"]["own"] > 0


def test_one_image_is_translated_and_not_measured(emoji, tmp_path):
    real_files.write_files(tmp_path / "in", {"a.png": real_files.encoded(np.zeros((64, 64, 3), np.uint8), "PNG")})
    assert run(f"--workdir={emoji / 'run'}", f"--input={tmp_path / 'in'}", f"--out={tmp_path / 'out'}") == 0
    assert (tmp_path / "out" / "a.png").exists()
    assert not (tmp_path / "out-fidelity.json").exists()


def test_nothing_is_overwritten(emoji, tmp_path, capsys):
    flags = (f"--workdir={emoji / 'run'}", f"--input={emoji / 'prior'}")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    assert run(*flags, f"--out={tmp_path / 'out'}") == 2
    assert "is there already: name a new folder, or an empty one" in capsys.readouterr().err
    (tmp_path / "new-sheet.png").write_text("keep")
    assert run(*flags, f"--out={tmp_path / 'new'}") == 2
    assert "new-sheet.png is there already" in capsys.readouterr().err
    assert {p.read_text() for p in (tmp_path / "out" / "mine", tmp_path / "new-sheet.png")} == {"keep"}
    assert not (tmp_path / "new").exists()
