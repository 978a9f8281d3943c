"""Every shipped config, every variant: it builds as it is, and trains and samples when shrunk."""

import importlib
import pathlib

import numpy as np
import pytest
import shrink

import fdrl_jax
from configs import gaussians, points
from fdrl_jax import builders

CONFIGS = [
    ("digits", None),
    *(("gaussians", variant) for variant in gaussians.VARIANTS),
    *((name, v) for name in ("swissroll", "eight_gaussians", "twentyfive_gaussians") for v in points.VARIANTS),
]
# Shared by others, and no experiment by themselves.
HELPERS = {"__init__", "points"}


def get(name, variant):
    get_config = importlib.import_module(f"configs.{name}").get_config
    return get_config() if variant is None else get_config(variant)


def test_every_file_is_in_the_list():
    files = {path.stem for path in pathlib.Path(points.__file__).parent.glob("*.py")}
    assert files - HELPERS == {name for name, _ in CONFIGS}


@pytest.mark.parametrize(("name", "variant"), CONFIGS)
def test_builds(name, variant):
    experiment = builders.build(get(name, variant))
    if variant is not None and name != "gaussians":
        loss, divergence = points.PAIRINGS[variant.removeprefix("quick-").replace("quick", "lsif-chi2")]
        assert (experiment.config["loss"], experiment.config["divergence"]) == (loss, divergence)


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
    assert samples.shape == (3, *model.experiment.dataset.event_shape)
    assert np.isfinite(samples).all()


def test_an_unknown_variant_is_named():
    with pytest.raises(ValueError, match="'lr-kk' must be one of"):
        get("swissroll", "lr-kk")


def test_the_papers_settings():
    # method.md, "Hyperparameters": the Swiss roll of Fig. 10 and the Gaussians of Fig. 2 and 3.
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
