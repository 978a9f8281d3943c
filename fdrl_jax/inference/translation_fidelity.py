"""The similarity of translations to their inputs or true translations: low-frequency RMSE, RMSE and SSIM.

Each number is a mean over pairs, next to that of the same images paired at random, which shows how similar any two
images of the two sets are.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter

from fdrl_jax.types import InputError
from fdrl_jax.utils.confidence_intervals import normal_interval
from fdrl_jax.utils.pixel_scaling import to_float

Images = Float[np.ndarray, "_n _h _w _c"]
PerImage = Float[np.ndarray, " _n"]
Pixels = Float[np.ndarray, "..."] | UInt8[np.ndarray, "..."]

# Standard deviation of the low-pass filter, as a share of the height. It removes everything smaller than about a third
# of the picture.
_BLUR = 1 / 8

# Settings of Wang et al., 2004: an 11x11 Gaussian window, and constants relative to the range of the pixels, here 2.
SSIM_WINDOW = 11
_WINDOW_SIGMA, _K1, _K2, _RANGE = 1.5, 0.01, 0.03, 2.0


def rmse(a: Images, b: Images) -> PerImage:
    """Return the root mean square difference of each pair, from 0 to 2 for pixels in [-1, 1].

    Raises:
      InputError: the arrays are empty, or not images of the same shape.
    """
    _check(a, b)
    return np.sqrt(np.square(a.astype(np.float64) - b).mean(axis=(1, 2, 3)))


def low_frequency_rmse(a: Images, b: Images) -> PerImage:
    """Return `rmse` after a Gaussian low-pass filter, whose standard deviation is an eighth of the height.

    The filter keeps the brightness and colour of large areas, and removes detail. The former is what translation keeps
    in Fig. 7 of arXiv 2303.03714 ("background colors, pose and facial tones"). At the border, the outermost pixels are
    repeated outwards.

    Raises:
      InputError: the arrays are empty, or not images of the same shape.
    """
    _check(a, b)
    return rmse(*(_blurred(x, _BLUR * x.shape[1]) for x in (a, b)))


def ssim(a: Images, b: Images) -> PerImage:
    """Return the structural similarity of each pair (Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 2004); 1 if equal.

    Window and constants are those of that paper. The weights of the window sum to one, without a sample correction.
    The result is the mean over the channels and over all windows that are entirely inside the image.

    Raises:
      InputError: the images are smaller than the window of 11x11, or the two arrays are not of the same shape.
    """
    _check(a, b)
    if min(a.shape[1:3]) < SSIM_WINDOW:
        raise InputError(
            f"ssim takes images of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, not {a.shape[1]}x{a.shape[2]}"
        )
    a, b = a.astype(np.float64), b.astype(np.float64)
    half = SSIM_WINDOW // 2

    def mean(x: Images) -> Float[np.ndarray, "..."]:
        return _blurred(x, _WINDOW_SIGMA, half)[:, half:-half, half:-half]

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = (_K1 * _RANGE) ** 2, (_K2 * _RANGE) ** 2
    similar = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (similar / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))).mean(axis=(1, 2, 3))


class Paired(NamedTuple):
    """Two means of a distance: over pairs, and over the same images paired at random.

    Attributes:
      own: mean over the images, each with its own partner.
      own_interval: 95% interval of that mean.
      other: mean over the images, each with the partner of another image, drawn once.
      other_interval: 95% interval of that mean.
    """

    own: float
    own_interval: tuple[float, float]
    other: float
    other_interval: tuple[float, float]


def paired(distance: Callable[[Images, Images], PerImage], a: Images, b: Images, seed: int = 0) -> Paired:
    """Return the mean distance of a_i to b_i, and that of a_i to b_j, where each j != i is used once.

    Args:
      distance: one of `rmse`, `low_frequency_rmse` and `ssim`.
      a: at least 2 images, floats in [-1, 1].
      b: partner of each image.
      seed: seed of the random pairs.

    Raises:
      InputError: there are fewer than 2 images, or the shapes differ.
    """
    if len(a) < 2:
        raise InputError(f"there are {len(a)} images, and pairing them at random needs at least 2: add images")
    order = np.random.default_rng(seed).permutation(len(a))
    partner = np.empty(len(a), int)
    partner[order] = np.roll(order, 1)  # A single cycle through all images, so that no image is its own partner.
    own, other = _mean(distance(a, b)), _mean(distance(a, b[partner]))
    return Paired(*own, *other)


def fidelity(
    inputs: Pixels, outputs: Pixels, truths: Pixels | None = None, with_truth: Sequence[int] | None = None
) -> dict[str, Paired]:
    """Measure how similar translations are to their inputs and, where these are known, to the true translations.

    Args:
      inputs: at least 2 images, uint8 or float in [-1, 1].
      outputs: their translations, in the same order.
      truths: true translations of the inputs `with_truth`, at least 2; None if none is known.
      with_truth: indices of the inputs that have a true translation, by default all.

    Returns:
      Two means by name (see `paired`). input_low_frequency_rmse compares the outputs with their inputs. With truths
      there are also truth_rmse and truth_ssim, which compare the outputs with the true translations, and
      untranslated_rmse and untranslated_ssim, the scores of the untranslated inputs. SSIM is left out for images
      smaller than its window.
    """
    inputs, outputs = to_float(inputs), to_float(outputs)
    result = {"input_low_frequency_rmse": paired(low_frequency_rmse, outputs, inputs)}
    if truths is None:
        return result
    rows = np.arange(len(inputs)) if with_truth is None else np.asarray(with_truth)
    truths = to_float(truths)
    for name, images in (("truth", outputs[rows]), ("untranslated", inputs[rows])):
        result[f"{name}_rmse"] = paired(rmse, images, truths)
        if min(images.shape[1:3]) >= SSIM_WINDOW:
            result[f"{name}_ssim"] = paired(ssim, images, truths)
    return result


def _mean(values: PerImage) -> tuple[float, tuple[float, float]]:
    """Return the mean and its 95% interval."""
    value = float(values.mean())
    return value, normal_interval(value, float(values.std(ddof=1)) / len(values) ** 0.5)


def _blurred(x: Images, sigma: float, radius: int | None = None) -> Images:
    return gaussian_filter(x.astype(np.float64), sigma, mode="nearest", axes=(1, 2), radius=radius)


def _check(a: Images, b: Images) -> None:
    if a.shape != b.shape or a.ndim != 4 or not a.size:
        raise InputError(f"images must be two arrays [n, h, w, c] of one shape, not {a.shape} and {b.shape}")
