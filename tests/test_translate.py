"""Translation: given images flow to the domain of the data, in Python and from folder to folder."""

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
import main
from configs import emoji_translation64, fashion_translation
from fdrl_jax import builders, data, evaluation, pictures, priors, rng, translation
from fdrl_jax.types import InputError


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
    config.optimizer.learning_rate = 0.01  # So that a few steps make a flow that can be seen.
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
    noise = (out - (images / 127.5 - 1))[np.abs(out) < 1]  # Elsewhere it was clipped.
    # 2352 draws less those clipped: the standard error of the deviation is 1.5% of it, of the mean 2.1%.
    np.testing.assert_allclose(noise.std(), sigma, rtol=0.06)
    np.testing.assert_allclose(noise.mean(), 0, atol=0.1 * sigma)


def test_it_is_the_flow_of_the_model(fashion):
    images, root = some_images(fashion, 2), jax.random.key(3)
    start = translate(fashion, images * 0 + 128, root, num_steps=0)  # Grey, so that no noise is clipped.
    # The definition, Eq. 9, step by step with the streams of `rng`.
    recipe = fashion.experiment.recipe
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
    assert np.abs(translate(fashion, images, 1) - expected).max() > 0.05  # Another seed, other noise.


def test_floats_and_bytes_are_the_same_and_stay_as_they_are(fashion):
    images = some_images(fashion, 3)
    floats = images.astype(np.float32) / 127.5 - 1
    kept = floats.copy()
    np.testing.assert_allclose(translate(fashion, floats, 0), translate(fashion, images, 0), atol=2e-5)
    np.testing.assert_array_equal(floats, kept)


def test_a_translation_is_defined_without_noise_too(fashion, tmp_path):
    quiet = dataclasses.replace(fashion, prior=priors.Empirical(fashion.prior.images, noise=0.0))
    floats = some_images(fashion, 3).astype(np.float32) / 127.5 - 1
    kept = floats.copy()
    np.testing.assert_array_equal(translate(quiet, floats, 0, num_steps=0), kept)
    assert np.abs(translate(quiet, floats, 0) - kept).max() > 0
    np.testing.assert_array_equal(floats, kept)  # The flow's buffers are donated; this one is the caller's.


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


def test_a_class_and_a_part_of_it():
    images = np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1)
    whole = data.readers.ArrayReader(images, np.arange(12) % 3, lambda i: f"image {i}", "digest")
    some = data.every_nth(data.of_class(whole, 1), 1, 2)
    assert [some.read(i).item() for i in range(len(some))] == [4, 10]
    assert [some.name(i) for i in range(len(some))] == ["image 4", "image 10"]
    assert some.labels.tolist() == [1, 1]
    assert len({r.signature() for r in (whole, some, data.of_class(whole, 1), data.of_class(whole, 2))}) == 4


def test_a_class_that_is_not_there_is_said(tmp_path):
    config = shrink.shrink(fashion_translation.get_config(), folder=tmp_path)
    config.data.label = 3
    with pytest.raises(InputError, match=r"config.data.label = 3 is the class of no image: there are 9"):
        builders.dataset(builders.build(config))
    config.data.label, config.prior.label = 9, 4
    with pytest.raises(InputError, match=r"config.prior.label = 4 is the class of no image: there are 7"):
        builders.prior_source(builders.build(config))
    emoji = shrink.shrink(emoji_translation64.get_config(), folder=tmp_path / "emoji")
    emoji.prior.label = 0
    with pytest.raises(InputError, match=r"config.prior.label = 0 chooses a class, and there are no labels beside"):
        builders.prior_source(builders.build(emoji))


# --- measures ---


def pairs(n=6, size=16, seed=0):
    a, b = np.random.default_rng(seed).uniform(-1, 1, (2, n, size, size + 3, 2))
    return a.astype(np.float32), b.astype(np.float32)


def test_rmse_and_its_low_frequencies():
    a, b = pairs()
    np.testing.assert_allclose(evaluation.rmse(a, b)[2], np.sqrt(((a[2].astype(float) - b[2]) ** 2).mean()))
    np.testing.assert_array_equal(evaluation.rmse(a, a), 0)
    # A constant passes a low-pass filter whole; a checkerboard, the highest frequency, not at all.
    flat = np.zeros((1, 32, 32, 1))
    np.testing.assert_allclose(evaluation.low_frequency_rmse(flat, flat + 0.5), 0.5)
    board = 0.5 * (-1.0) ** np.add.outer(np.arange(32), np.arange(32))[None, :, :, None]
    # But for the border, where it is continued by a row of its own: 2% of it.
    assert evaluation.low_frequency_rmse(flat, board) < 0.02
    np.testing.assert_allclose(evaluation.rmse(flat, board), 0.5)
    # A Gaussian of sd s damps exp(i w x) by exp(-s^2 w^2 / 2): here s = 32 / 8 and one period across the picture,
    # away from the border.
    wave = np.sin(2 * np.pi * np.arange(320) / 32)[None, :, None, None] * np.ones((1, 320, 4, 1))
    blurred = evaluation.fidelity._blurred(wave, 4.0)
    np.testing.assert_allclose(
        blurred[:, 40:-40], np.exp(-((4 * 2 * np.pi / 32) ** 2) / 2) * wave[:, 40:-40], atol=1e-3
    )


def test_ssim_is_the_formula():
    a, b = (x.astype(float) for x in pairs(n=2, size=13))
    position = np.arange(-5, 6)
    window = np.exp(-(position**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2  # Wang et al. 2004, section III.B; pixels span 2.
    values = []
    for y in range(13 - 10):
        for x in range(16 - 10):
            for c in range(2):
                p, q = a[0, y : y + 11, x : x + 11, c], b[0, y : y + 11, x : x + 11, c]
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
                cov = (window * (p - mp) * (q - mq)).sum()
                values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    np.testing.assert_allclose(evaluation.ssim(a, b)[0], np.mean(values), rtol=1e-9)
    np.testing.assert_allclose(evaluation.ssim(a, a), 1)
    with pytest.raises(InputError, match="at least 11x11"):
        evaluation.ssim(a[:, :10], b[:, :10])


def test_paired_compares_own_with_other():
    a, _ = pairs(n=40)
    found = evaluation.paired(evaluation.rmse, a, a)
    assert found.own == 0
    others = np.array([[np.sqrt(((x - y) ** 2).mean()) for y in a] for x in a])
    # No image is its own partner: with one zero in the mean it would be 2.5% lower.
    np.testing.assert_allclose(found.other, others[~np.eye(40, dtype=bool)].mean(), rtol=0.01)
    low, high = found.other_interval
    assert low < found.other < high
    shifted = evaluation.paired(evaluation.rmse, a, a + np.arange(40)[:, None, None, None])
    spread = 1.959964 * np.arange(40).std(ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(shifted.own_interval, (19.5 - spread, 19.5 + spread), rtol=1e-5)
    with pytest.raises(InputError, match="at least 2"):
        evaluation.paired(evaluation.rmse, a[:1], a[:1])
    with pytest.raises(InputError, match="one shape"):
        evaluation.paired(evaluation.rmse, a, a[:, :3])


def test_fidelity_knows_a_perfect_translation():
    inputs, truths = pairs(n=20)
    found = translation.fidelity(inputs, truths, truths[5:], range(5, 20))
    assert (found["truth_rmse"].own, found["truth_ssim"].own) == (0, pytest.approx(1))
    assert found["truth_rmse"].other > 0.7  # Of uniform noise: sqrt(2/3) = 0.82.
    np.testing.assert_allclose(found["untranslated_rmse"].own, evaluation.rmse(inputs[5:], truths[5:]).mean())
    assert set(translation.fidelity(inputs, truths)) == {"input_low_frequency_rmse"}


def test_strips_put_items_under_one_another():
    top, bottom = np.full((3, 40, 40, 1), -1.0), np.full((3, 40, 40, 1), 1.0)
    picture = pictures.strips(top, bottom, columns=2)
    for y, x, grey in ((10, 10, 0), (10, 60, 0), (60, 10, 255)):
        assert (picture[y, x] == grey).all()
    below = picture[84:]  # The second strip: one item.
    dark = np.flatnonzero((below == 0).all(axis=(-1))[:, 10])
    assert len(dark) == 40
    assert (below[dark[0], 60] == 255).all()


# --- from folder to folder ---


def run(*argv):
    return main.run(["main.py", "--mode=translate", *map(str, argv)])


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
    said = capsys.readouterr().out
    assert f"5 images from {source} are in {out}" in said
    assert "2 of the images have a true partner" in said
    files = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert files == ["a.png", "b.png", "deep/c.png", "deep/d.png", "deep/deeper/e.png"]
    # The same as in Python, on what the run's transform makes of the files, in the order of their names.
    model = fdrl_jax.load(emoji / "run")
    transform = builders.data_transform(model.experiment.config["data"])
    images = np.stack([transform(Image.open(source / name)) for name in sorted(kinds)])
    expected = translate(model, images, 3)
    for file, image in zip(files, expected, strict=True):
        found = read(out / file)
        assert found.shape == (16, 16, 3)
        np.testing.assert_allclose(found / 127.5 - 1, image, atol=1 / 255 + 2e-5)
    assert read(tmp_path / "out-sheet.png").ndim == read(tmp_path / "out-flow.png").ndim == 3
    measured = json.loads((tmp_path / "out-fidelity.json").read_text())
    assert measured.keys() == {"input_low_frequency_rmse"} | {
        f"{a}_{b}" for a in ("truth", "untranslated") for b in ("rmse", "ssim")
    }
    partners = np.stack([transform(Image.open(truth / f"{name}.png")) for name in ("b", "deep/c")])
    chosen = images[[1, 2]] / 127.5 - 1, partners / 127.5 - 1
    np.testing.assert_allclose(measured["untranslated_rmse"]["own"], evaluation.rmse(*chosen).mean(), rtol=1e-5)


def test_emoji_have_their_truth_by_file_name(emoji, tmp_path, capsys):
    # The tiny files of both vendors have the same names and pixels, so that doing nothing is perfect.
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
