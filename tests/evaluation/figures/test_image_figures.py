"""Figures that are grids of images: every image is in its place.

Covers: `figures.fig4_uncurated_samples`, `figures.fig8_flow_of_images`.
Covers: `figures.fig9_interpolation`, `figures.fig11_prior_and_samples`.
"""

import numpy as np
from picture_checks import contains

from fdrl_jax.evaluation import figures
from fdrl_jax.evaluation.figures import layout
from fdrl_jax.inference import sampling
from fdrl_jax.utils import plotting


def test_fig4_shows_all_samples_in_their_order(model):
    samples = sampling.sample(model, 0, 7, progress=False)
    page = figures.uncurated(model, samples, 0)
    assert contains(page, layout.grid(samples, 3))
    assert not contains(page, layout.grid(samples[::-1], 3))


def test_fig8_has_a_row_for_each_sample(model):
    times, states = sampling.trajectory(model, 0, 3, 2, progress=False)
    page = figures.flow_rows(model, times, states, 0)
    rows = plotting.image_grid(states.swapaxes(0, 1).reshape(-1, *states.shape[2:]), len(times))
    assert contains(page, layout.enlarged(rows, 800))


def test_fig9_has_a_row_for_each_pair(model):
    images = np.random.default_rng(0).uniform(-1, 1, (2, 5, 8, 8, 1)).astype(np.float32)
    page = figures.interpolation_picture(model, images, 0)
    assert contains(page, layout.enlarged(plotting.image_grid(images.reshape(10, 8, 8, 1), 5), 760))


def test_fig11_has_each_sample_in_the_place_of_its_draw(model):
    draws, samples = (sampling.sample(model, 0, 4, num_steps=n, progress=False) for n in (0, 5))
    page = figures.prior_and_samples(model, draws, samples, 0)
    left, right = page[:, : page.shape[1] // 2], page[:, page.shape[1] // 2 :]
    assert contains(left, layout.grid(draws, 2, 400))
    assert contains(right, layout.grid(samples, 2, 400))
