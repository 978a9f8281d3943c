"""Fig. 12: copies of training images are detected, fresh images are not, and each row shows the right neighbours.

Covers: `figures.fig12_nearest_training_images`.
"""

import numpy as np
import pytest
from picture_checks import contains, random_pixels
from scipy.spatial.distance import cdist

from fdrl_jax.evaluation import figures
from fdrl_jax.evaluation.features import Features, pixels
from fdrl_jax.utils import plotting
from fdrl_jax.utils.pixel_scaling import to_float


@pytest.mark.parametrize("with_held_out", [True, False])
def test_copies_are_detected(with_held_out):
    training, held_out = random_pixels(300, 5), random_pixels(200, 6)
    fresh, copies = to_float(random_pixels(50, 7)), to_float(training[100:150]) + np.float32(0.01)
    result = figures.memorisation(
        np.concatenate([fresh, copies]), training, held_out if with_held_out else None, k=3, most=150
    )
    assert result.indices.shape == result.distances.shape == (100, 3)
    assert result.indices[50:, 0].tolist() == list(range(100, 150))
    assert result.reference.shape == (150,)
    assert result.leave_one_out is not with_held_out
    assert 0.5 <= result.share <= 0.56
    assert result.threshold == np.percentile(result.reference, 1)
    assert (result.distances[50:, 0] < result.threshold).all()
    np.testing.assert_array_equal(result.distances, np.sort(result.distances, axis=1))


def test_fresh_images_are_no_copies():
    training = random_pixels(500, 8)
    result = figures.memorisation(to_float(random_pixels(400, 9)), training, random_pixels(1000, 10), k=1)
    assert result.share < 0.04
    exact = cdist(random_pixels(1000, 10).reshape(1000, -1).astype(float), training.reshape(500, -1).astype(float))
    np.testing.assert_allclose(np.sort(result.reference), np.sort(exact.min(axis=1)))


def test_mirror_images_are_copies_for_a_model_trained_with_flips():
    training = random_pixels(100, 11)
    samples = to_float(training[:10, :, ::-1])
    assert figures.memorisation(samples, training, k=1).share < 0.5
    result = figures.memorisation(samples, training, k=1, mirrored=True)
    assert result.share == 1
    assert result.indices.ravel().tolist() == list(range(10))


def test_neighbours_are_right_of_the_red_line(model):
    training, samples = random_pixels(30, 12), to_float(random_pixels(3, 13))
    result = figures.memorisation(samples, training, k=4)
    page = figures.neighbours_picture(model, samples, training, result, 0, rows=2)
    red = (page == [220, 0, 0]).all(axis=-1).nonzero()[1]
    near = to_float(training[result.indices[:2].ravel()])
    scale = (red.max() - red.min() + 1) // 2
    left, right = (
        plotting.image_grid(x, columns).repeat(scale, 0).repeat(scale, 1)
        for x, columns in ((samples[:2], 1), (near, 4))
    )
    assert contains(page[:, : red.min()], left)
    assert contains(page[:, red.max() + 1 :], right)


def test_nearest_images_in_a_users_feature_space(digits, tmp_path, command):
    file = tmp_path / "mine.py"
    file.write_text("def rows(images):\n    return images.reshape(len(images), 8, -1).mean(axis=2).astype('float32')\n")
    flags = (f"--workdir={digits}", "--figures=fig12", "--num_samples=20", f"--out={tmp_path / 'out'}")
    assert command(*flags, f"--features=pixels,{file}:rows") == 0
    slug = Features(f"{file}:rows", "", "", pixels().apply).slug
    assert {path.name for path in (tmp_path / "out").glob("*.npz")} == {"fig12_pixels.npz", f"fig12_{slug}.npz"}
    assert command(*flags, "--features=pixel") == 2
