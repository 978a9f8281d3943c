"""Pictures in a page: small ones are embedded unchanged, large ones are compressed.

Covers: `report.embedded_images`.
"""

import io

import numpy as np
from page_content import decoded
from PIL import Image

from fdrl_jax.evaluation.report import embedded_images


def test_small_pictures_are_unchanged_and_large_ones_become_webp(tmp_path):
    small, large, noise = tmp_path / "small.png", tmp_path / "large.png", tmp_path / "noise.png"
    rng = np.random.default_rng(0)
    Image.new("RGB", (30, 20), "red").save(small)
    pixels = rng.integers(0, 2, (300, 300, 1), np.uint8).repeat(3, 2).repeat(2, 0).repeat(2, 1) * 255
    Image.fromarray(pixels).save(large, compress_level=0)
    Image.fromarray(rng.integers(0, 256, (500, 2000, 3), np.uint8)).save(noise)
    assert decoded(embedded_images.embed(small).uri) == ("png", small.read_bytes())
    kind, data = decoded(embedded_images.embed(large).uri)
    assert (kind, len(data) < embedded_images.STILL_LIMIT) == ("webp", True)
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), pixels)
    embedded = embedded_images.embed(noise)
    kind, data = decoded(embedded.uri)
    assert (kind, embedded.width, embedded.height) == ("webp", 2000, 500)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (1600, 400)


def test_animations_stay_animations(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded_images, "ANIMATION_LIMIT", 100_000)
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (100, 100, 3), np.uint8)) for _ in range(12)]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=70, loop=0)
    assert path.stat().st_size > embedded_images.ANIMATION_LIMIT
    embedded = embedded_images.embed(path)
    kind, data = decoded(embedded.uri)
    assert (kind, len(data) < path.stat().st_size) == ("webp", True)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 12
        image.seek(11)
        image.load()
        assert image.info["duration"] == 70
    with Image.open(io.BytesIO(decoded(embedded.still)[1])) as still:
        assert not getattr(still, "is_animated", False)
        difference = np.asarray(still.convert("L"), float) - np.asarray(frames[-1].convert("L"), float)
        assert np.abs(difference).mean() < 12  # The GIF has only 256 colours.
