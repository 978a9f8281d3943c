"""Experiments, data sets and priors of all shipped configs and variants, some of them shrunk, trained and sampled.

Covers: `builders.datasets`, `builders.experiment`, `builders.priors`.
"""

import importlib
import pathlib
import re
import shutil

import numpy as np
import pytest
import real_files
import shrink
from parity import ARCHITECTURES

import fdrl_jax
from configs import celeba64, cifar10, fashion_mnist, gaussians, images, points
from fdrl_jax import cli, data
from fdrl_jax.experiment import builders
from fdrl_jax.types import InputError

CONFIGS = [
    ("digits", None),
    *(("gaussians", variant) for variant in gaussians.VARIANTS),
    *((name, v) for name in ("swissroll", "eight_gaussians", "twentyfive_gaussians") for v in points.VARIANTS),
]
IMAGES = [
    *(("cifar10", variant) for variant in cifar10.VARIANTS),
    *(("celeba64", variant) for variant in celeba64.VARIANTS),
    ("lsun_church128", None),
    ("cat2dog64", None),
    *(("fashion_mnist", variant) for variant in fashion_mnist.VARIANTS),
    ("emoji64", None),
    ("emoji_translation64", None),
    ("fashion_translation", None),
]
# Files that define no experiment, and classifiers, which are in test_classifier.py.
NO_EXPERIMENTS = {"__init__", "points", "images", "classifier"}


def get(name, variant):
    get_config = importlib.import_module(f"configs.{name}").get_config
    return get_config() if variant is None else get_config(variant)


def test_every_file_is_in_the_list():
    files = {path.stem for path in pathlib.Path(points.__file__).parent.glob("*.py")}
    assert files - NO_EXPERIMENTS == {name for name, _ in CONFIGS + IMAGES}


@pytest.mark.parametrize(("name", "variant"), CONFIGS + IMAGES)
def test_the_experiment_is_built(name, variant):
    experiment = builders.build(get(name, variant))
    pairing = next((p for p in points.PAIRINGS if p in str(variant).replace("quick", "lsif-chi2 quick")), None)
    if pairing is not None and variant.startswith("quick-"):
        pairing = variant.removeprefix("quick-")
    if pairing is not None:
        assert (experiment.config["loss"], experiment.config["divergence"]) == points.PAIRINGS[pairing]


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("digits", None),
        ("gaussians", "near-stale"),
        ("gaussians", "far-fdrl"),
        ("swissroll", "lsif-chi2"),
        ("swissroll", "quick-lr-js"),
        ("eight_gaussians", "lr-kl"),
        ("twentyfive_gaussians", "lr-logd"),
    ],
)
def test_trains_and_samples_when_shrunk(name, variant, tmp_path):
    shrink.trained(shrink.shrink(get(name, variant)), tmp_path)
    model = fdrl_jax.load(tmp_path)
    samples = fdrl_jax.sample(model, 0, 3, progress=False)
    assert samples.shape == (3, *model.experiment.event_shape)
    assert np.isfinite(samples).all()


def test_an_unknown_variant_is_named():
    with pytest.raises(ValueError, match="'lr-kk' must be one of"):
        get("swissroll", "lr-kk")


def test_the_papers_settings():
    # The Swiss roll of Fig. 10 and the Gaussians of Fig. 2 and 3.
    roll = get("swissroll", "lr-kl")
    assert (roll.data.batch_size, roll.flow.num_steps, roll.flow.step_size) == (1024, 200, 1.0)
    assert (roll.optimizer.learning_rate, roll.optimizer.decay_steps) == (5e-5, (5000, 10000, 15000))
    assert (roll.train.num_steps, roll.model.width, roll.model.ratio_init) == (20000, (64,) * 4, None)
    settings = {v: get("gaussians", v) for v in gaussians.VARIANTS}
    assert {v: (c.data.mean[0], c.flow.num_steps, c.flow.guided) for v, c in settings.items()} == {
        "near-stale": (1.0, 15, False),
        "far-stale": (6.0, 400, False),
        "far-fdrl": (6.0, 400, True),
    }
    assert all(c.train.num_steps == 1000 and c.data.variance == 0.1 for c in settings.values())


# The first variant of every file, and the variant with a uniform prior. Two kinds of files are not slow.
@pytest.mark.parametrize(
    ("name", "variant"),
    [
        pytest.param(*each, marks=() if each[0] in ("emoji64", "cat2dog64") else pytest.mark.slow)
        for each in [*dict(reversed(IMAGES)).items(), ("cifar10", "uniform-lr-kl")]
    ],
    ids=str,
)
def test_an_image_config_is_prepared_trained_resumed_and_sampled(name, variant, tmp_path, capsys):
    config = shrink.shrink(get(name, variant), num_steps=2, folder=tmp_path)
    path = tmp_path / "config.py"
    path.write_text(
        f"from ml_collections import ConfigDict\n\ndef get_config():\n    return ConfigDict({config.to_dict()})\n"
    )
    workdir, out = tmp_path / "run", tmp_path / "samples.npz"
    assert cli.run(["main.py", "--mode=prepare", f"--config={path}"]) == 0
    assert f" images of {config.data.path}, " in capsys.readouterr().out
    train = ["main.py", f"--config={path}", f"--workdir={workdir}"]
    assert cli.run(train) == 0
    assert cli.run([*train, "--config.train.num_steps=3"]) == 0
    assert "resume at step 2 of 3" in capsys.readouterr().out
    # Sampling needs neither the images nor their cache.
    for folder in ("cache", "data", "prior"):
        shutil.rmtree(tmp_path / folder, ignore_errors=True)
    assert cli.run(["main.py", "--mode=sample", f"--workdir={workdir}", "--num_samples=3", f"--out={out}"]) == 0
    samples = np.load(out)["samples"]
    assert samples.shape == (3, config.data.image_size, config.data.image_size, config.data.channels)
    assert np.isfinite(samples).all()
    assert samples.std() > 0


def test_too_few_images_for_a_batch_are_refused_before_they_are_read(tmp_path):
    config = shrink.shrink(get("emoji64", None), folder=tmp_path)
    config.data.batch_size = 25
    with pytest.raises(InputError, match="batch_size = 25 is more than the 24 examples of data set 'folder'"):
        builders.dataset(builders.build(config))
    assert not (tmp_path / "cache").exists()


def test_skipped_images_can_leave_too_few_for_a_batch(tmp_path):
    config = shrink.shrink(get("emoji64", None), folder=tmp_path)
    config.data.update(batch_size=24, on_error="skip")
    (tmp_path / "data" / "0003.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="batch_size = 24 is more than the 23 examples"):
        builders.dataset(builders.build(config), progress=False)


def test_a_low_rank_prior_is_fitted_and_stored(tmp_path, capsys):
    config = shrink.shrink(get("emoji64", None), folder=tmp_path)
    config.prior.rank = 5
    trained = shrink.trained(config, tmp_path / "run")
    log = capsys.readouterr().out
    share, distance = re.search(r"rank 5 keeps ([\d.]+)% of .* distance to the exact Gaussian ([\d.]+)", log).groups()
    assert 10 < float(share) < 100
    # The residual of the prior keeps each pixel's variance but not the covariances, so the two priors differ.
    assert float(distance) > 0
    loaded = fdrl_jax.load(tmp_path / "run")
    assert loaded.prior.basis.shape == (16 * 16 * 3, 5)
    np.testing.assert_array_equal(
        fdrl_jax.sample(trained, 0, 3, progress=False), fdrl_jax.sample(loaded, 0, 3, progress=False)
    )


def test_the_papers_image_settings():
    # The hyperparameters and data of the experiments on images, and the networks of Table 3.
    for name, variant in IMAGES:
        c = get(name, variant)
        if variant == "cpu" or name == "fashion_translation":  # These are smaller, for a CPU.
            continue
        assert (c.data.batch_size, c.data.dequantize_sigma, c.ema_decay) == (64, 0.03, 0.998), name
        assert (c.flow.num_steps, c.flow.step_size, c.flow.noise) == (100, 3.0, 1e-2), name
        assert (c.optimizer.learning_rate, c.optimizer.b1, c.optimizer.b2) == (1e-4, 0.9, 0.999), name
        assert tuple(c.train.num_steps - step for step in c.optimizer.decay_steps) == (20_000, 10_000), name
        assert c.flow.kappa == (20 if c.prior.name == "ddp" else 10), name
        not_in_paper = name in ("fashion_mnist", "emoji64", "emoji_translation64")
        assert c.model.ratio_init == (1.0 if not_in_paper else None), name
        assert c.data.flip == (not not_in_paper), name
    assert get("cifar10", "uniform-lr-kl").train.num_steps == 120_000
    assert get("cifar10", "lsif-chi2").model.spectral_norm
    assert not get("cifar10", "lsif-chi2-no-sn").model.spectral_norm
    assert not get("celeba64", "lr-kl").model.spectral_norm
    assert get("celeba64", "lr-kl").data.transform == "center_crop:140,resize:64"
    assert get("lsun_church128", None).data.transform == "resize:128x128"
    dogs = get("cat2dog64", None)
    assert (dogs.data.transform, dogs.model.attention, dogs.model.spectral_norm) == (
        "resize:84x84,center_crop:64", 2, True
    )  # fmt: skip
    assert (dogs.train.num_steps, dogs.optimizer.decay_steps, dogs.prior.name) == (40_000, (20_000, 30_000), "dataset")
    # The tables are those of the networks in `parity`, whose outputs were compared with the authors'.
    tables = {key: (n["stem"], n["stages"]) for key, n in images.NETWORKS.items()}
    for key, architecture in (("32", "resnet32"), ("64", "resnet64"), ("128", "resnet128")):
        assert tables[key] == (ARCHITECTURES[architecture].stem, ARCHITECTURES[architecture].stages), key
    shallow = ARCHITECTURES["resnet64shallow_sn_attn"]
    assert tables["64-shallow"] == (shallow.stem, shallow.stages)


# All images of the real files, with the transforms of the shipped configs.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count", "shape"),
    [
        ("fashion_mnist", 60_000, (32, 32, 1)),
        ("emoji64", 3786, (64, 64, 3)),
        ("emoji_translation64", 1893, (64, 64, 3)),
    ],
)
def test_real_files_are_prepared(name, count, shape, tmp_path):
    config = get(name, None)
    if name == "fashion_mnist":
        config.data.path = str(real_files.fashion_mnist())
    elif name == "emoji64":
        config.data.path = str(real_files.emoji("google"))
    else:
        config.data.path, config.prior.path = (str(real_files.emoji(vendor)) for vendor in ("twitter", "google"))
    config.data.cache = str(tmp_path / "cache")
    experiment = builders.build(config)
    images = builders.dataset(experiment, progress=False).examples
    assert images.shape == (count, *shape)
    if name == "fashion_mnist":
        assert images[:, :2].max() == images[:, -2:].max() == 0  # The padding.
        assert abs(images[:, 2:-2, 2:-2].mean() / 255 - 0.2860) < 1e-3  # The data set's well-known mean.
    else:
        assert (images[:, 0, 0] == 255).mean() > 0.9  # Transparent corners become white.
    if name == "emoji_translation64":
        assert builders.fit_prior(experiment, data.ArrayDataset(images), progress=False).images.shape == images.shape
