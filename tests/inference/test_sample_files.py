"""Files of samples: --out, .npz files written batch by batch, pictures, and folders of PNGs.

tests/system/test_scale.py measures their memory and interrupts them.
"""

import numpy as np
import pytest
import shrink
from PIL import Image

from fdrl_jax.inference import sample_files, sampling
from fdrl_jax.types import InputError
from fdrl_jax.utils import plotting


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return shrink.trained(shrink.tiny_digits(), tmp_path_factory.mktemp("digits") / "run")


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    return shrink.trained(shrink.tiny_points(), tmp_path_factory.mktemp("points") / "run")


def settings(**changes):
    return {"num_samples": 5, "seed": 3, "num_steps": 2, "batch_size": 2} | changes


def test_a_streamed_npz_is_that_of_savez(digits, tmp_path):
    sample_files.write(digits, tmp_path / "s.npz", is_folder=False, **settings())
    samples = sampling.sample(digits, 3, 5, 2, 2, progress=False)
    np.savez(tmp_path / "savez.npz", samples=samples)
    with np.load(tmp_path / "s.npz") as written, np.load(tmp_path / "savez.npz") as expected:
        assert written.files == expected.files == ["samples"]
        assert written["samples"].dtype == np.float32
        np.testing.assert_array_equal(written["samples"], expected["samples"])


def test_a_folder_has_one_png_per_sample(digits, tmp_path):
    sample_files.write(digits, tmp_path / "new", is_folder=True, **settings())
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [f"{i:06d}.png" for i in range(5)]
    samples = sampling.sample(digits, 3, 5, 2, 2, progress=False)
    with Image.open(tmp_path / "new" / "000004.png") as image:
        np.testing.assert_allclose(np.asarray(image) / 127.5 - 1, samples[4, ..., 0], atol=1 / 255 + 1e-5)


def test_a_folder_is_neither_for_points_nor_for_the_flow(digits, points, tmp_path):
    with pytest.raises(InputError, match="is for images, and this run makes points"):
        sample_files.write(points, tmp_path / "new", is_folder=True, **settings())
    with pytest.raises(InputError, match=r"--every shows the flow .* name a file"):
        sample_files.write(digits, tmp_path / "new", is_folder=True, every=1, **settings())
    assert list(tmp_path.iterdir()) == []


def test_out_is_checked(tmp_path):
    assert sample_files.check_out(f"{tmp_path}/s.npz") == tmp_path / "s.npz"
    assert sample_files.check_out(f"{tmp_path}/new/") == tmp_path / "new"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.png").touch()
    (tmp_path / "folder.png").mkdir()
    for out, message in {
        None: "--out is missing",
        f"{tmp_path}/s.jpg": "must end in .png",
        f"{tmp_path}/full/": "is there already",
        f"{tmp_path}/folder.png": "is a folder",
        f"{tmp_path}/none/s.png": "cannot be written",
    }.items():
        with pytest.raises(InputError, match=message):
            sample_files.check_out(out)


def test_a_grid_has_one_row_per_class(monkeypatch):
    shown = {}

    def grid(images, columns):
        shown.update(x=images, c=columns)
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr(plotting, "image_grid", grid)
    images = np.arange(5, dtype=np.float32)[:, None, None, None] / 10
    plotting.class_grid(images, np.array([7, 2, 2, 7, 2]))
    assert shown["c"] == 3
    # Class 7 has one image less than class 2; its row is filled with white.
    np.testing.assert_allclose(shown["x"].ravel(), [0.1, 0.2, 0.4, 0.0, 0.3, 1.0])


def test_a_grid_of_one_class_is_a_grid_of_images():
    images = np.random.default_rng(0).uniform(-1, 1, (25, 4, 4, 1)).astype(np.float32)
    of_one_class = plotting.class_grid(images, np.full(25, 3))
    np.testing.assert_array_equal(of_one_class, plotting.image_grid(images))
