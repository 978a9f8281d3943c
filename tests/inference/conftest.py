"""Runs and an exported folder that several test files use."""

import pytest
import shrink

from configs import cat2dog64
from fdrl_jax.inference.export import export


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Tiny runs: digits (exact prior, spectral norm), low (prior of rank 5), points, and cats (two image domains)."""
    root = tmp_path_factory.mktemp("runs")
    digits = shrink.tiny_digits()
    digits.model.spectral_norm = True
    points, cats = shrink.tiny_points(), shrink.shrink(cat2dog64.get_config(), folder=root / "files")
    for config in (digits, points, cats):
        if "diagnostics" in config:
            del config.diagnostics  # They would only take time.
    shrink.trained(digits, root / "digits")
    shrink.trained(points, root / "points")
    shrink.trained(cats, root / "cats")
    digits.prior.rank = 5
    digits.train.num_steps = digits.train.sample_every = 1
    shrink.trained(digits, root / "low")
    return root


@pytest.fixture
def folder(runs, tmp_path):
    """The exported model of the digits run."""
    return export(runs / "digits", tmp_path / "model", num_samples=5, progress=False)
