"""The map of a known density ratio has the colours of its logarithm.

Covers: `figures.density_ratio_map`.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import fdrl_jax
from fdrl_jax.evaluation.figures import ratio_map
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import Model


@pytest.mark.parametrize("loss", ["lsif", "lr"])
def test_colours_have_the_sign_of_log_r(points, loss):
    model = fdrl_jax.load(points)
    cloud = np.random.default_rng(0).uniform(-1, 1, (500, 2)).astype(np.float32)
    experiment = builders.build({**model.experiment.config, "loss": loss, "divergence": "chi2"})

    class LeftAndRight(Model):
        """A model whose r is e^2 on the left and e^-2 on the right; with LSIF it is below 0 at the bottom."""

        def ratio_fn(self, x):
            ratio = jnp.exp(-2 * jnp.sign(x[:, 0]))
            return jnp.where(x[:, 1] < -0.5, -1.0, ratio) if loss == "lsif" else ratio

    known = LeftAndRight(experiment, model.params, model.prior, 4)
    page = ratio_map(known, cloud, cloud, cloud, 0).astype(int)
    red = (page[..., 0] - page[..., 2] > 60).nonzero()
    blue = (page[..., 2] - page[..., 0] > 60).nonzero()
    colour_bar = 0.88 * page.shape[1]
    for half in (0, page.shape[1] * 0.44):
        inside = lambda x, half=half: x[(x > half) & (x < min(half + page.shape[1] * 0.44, colour_bar))]  # noqa: E731
        assert np.median(inside(red[1])) < np.median(inside(blue[1]))
    bottom_left = page[int(page.shape[0] * 0.72), int(page.shape[1] * 0.2)]
    assert (bottom_left.max() - bottom_left.min() < 10) == (loss == "lsif")  # Grey.
