"""Similarity of images in pairs: RMSE, its low frequencies, SSIM, and the comparison with random pairs."""

import numpy as np
import pytest

from fdrl_jax.inference import translation_fidelity
from fdrl_jax.inference.translation_fidelity import fidelity, low_frequency_rmse, paired, rmse, ssim
from fdrl_jax.types import InputError


def pairs(n=6, size=16, seed=0):
    a, b = np.random.default_rng(seed).uniform(-1, 1, (2, n, size, size + 3, 2))
    return a.astype(np.float32), b.astype(np.float32)


def test_rmse_and_its_low_frequencies():
    a, b = pairs()
    np.testing.assert_allclose(rmse(a, b)[2], np.sqrt(((a[2].astype(float) - b[2]) ** 2).mean()))
    np.testing.assert_array_equal(rmse(a, a), 0)
    # A low-pass filter keeps a constant, and removes a checkerboard, which has the highest frequency.
    flat = np.zeros((1, 32, 32, 1))
    np.testing.assert_allclose(low_frequency_rmse(flat, flat + 0.5), 0.5)
    board = 0.5 * (-1.0) ** np.add.outer(np.arange(32), np.arange(32))[None, :, :, None]
    # At the border, where the outermost pixels are repeated, 2% of it is left.
    assert low_frequency_rmse(flat, board) < 0.02
    np.testing.assert_allclose(rmse(flat, board), 0.5)
    # A Gaussian of deviation s damps exp(i w x) by exp(-s^2 w^2 / 2). Here s = 32 / 8, the period is 32, and the border
    # is left out.
    wave = np.sin(2 * np.pi * np.arange(320) / 32)[None, :, None, None] * np.ones((1, 320, 4, 1))
    blurred = translation_fidelity._blurred(wave, 4.0)
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
    np.testing.assert_allclose(ssim(a, b)[0], np.mean(values), rtol=1e-9)
    np.testing.assert_allclose(ssim(a, a), 1)
    with pytest.raises(InputError, match="at least 11x11"):
        ssim(a[:, :10], b[:, :10])


def test_paired_compares_own_with_other():
    a, _ = pairs(n=40)
    result = paired(rmse, a, a)
    assert result.own == 0
    others = np.array([[np.sqrt(((x - y) ** 2).mean()) for y in a] for x in a])
    # No image is its own partner: with one zero among the 40 distances the mean would be 2.5% lower.
    np.testing.assert_allclose(result.other, others[~np.eye(40, dtype=bool)].mean(), rtol=0.01)
    low, high = result.other_interval
    assert low < result.other < high
    shifted = paired(rmse, a, a + np.arange(40)[:, None, None, None])
    spread = 1.959964 * np.arange(40).std(ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(shifted.own_interval, (19.5 - spread, 19.5 + spread), rtol=1e-5)
    with pytest.raises(InputError, match="at least 2"):
        paired(rmse, a[:1], a[:1])
    with pytest.raises(InputError, match="one shape"):
        paired(rmse, a, a[:, :3])


def test_a_perfect_translation_has_perfect_scores():
    inputs, truths = pairs(n=20)
    result = fidelity(inputs, truths, truths[5:], range(5, 20))
    assert (result["truth_rmse"].own, result["truth_ssim"].own) == (0, pytest.approx(1))
    assert result["truth_rmse"].other > 0.7  # The expectation for uniform noise is sqrt(2/3) = 0.82.
    np.testing.assert_allclose(result["untranslated_rmse"].own, rmse(inputs[5:], truths[5:]).mean())
    assert set(fidelity(inputs, truths)) == {"input_low_frequency_rmse"}
