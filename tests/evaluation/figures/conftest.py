"""Tiny runs whose figures are drawn: images, points, and a translation between two sets of images."""

import pytest
import shrink
from ml_collections import ConfigDict

import fdrl_jax
from configs import emoji_translation64
from fdrl_jax import cli


def train(config, workdir):
    if config.model.name == "resnet":  # Convolutions take longer to compile than the rest, and no figure needs them.
        config.model = ConfigDict({"name": "mlp", "width": (8,), "ratio_init": 1.0})
    shrink.trained(config, workdir)
    return workdir


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    return train(shrink.tiny_digits(), tmp_path_factory.mktemp("figures") / "digits")


@pytest.fixture(scope="session")
def points(tmp_path_factory):
    return train(shrink.tiny_points(), tmp_path_factory.mktemp("figures") / "points")


@pytest.fixture(scope="session")
def translation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    return train(shrink.shrink(emoji_translation64.get_config(), folder=folder), folder / "translation")


@pytest.fixture(scope="session")
def model(digits):
    return fdrl_jax.load(digits)


@pytest.fixture
def command():
    """Run `main.py --mode=figures` with further flags and return its exit status."""
    return lambda *flags: cli.run(["main.py", "--mode=figures", *map(str, flags)])
