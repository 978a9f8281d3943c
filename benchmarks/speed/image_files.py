"""Files of uint8 images, written as memory maps so that they need not fit in memory."""

import pathlib

import numpy as np
from PIL import Image


def write_synthetic(path: pathlib.Path, count: int, size: int, channels: int = 3) -> None:
    """Write `count` smooth random images to a .npy: uint8 [count, size, size, channels], with `channels` at most 3.

    Their amplitude falls as 1 / frequency, as that of photographs does.
    """
    generator = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    amplitude = 1 / np.maximum(frequency, 1 / size)[None, :, :, None]
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, size, size, channels))
    for start in range(0, count, 64):
        noise = generator.standard_normal((min(64, count - start), size, size, 3), np.float32)
        smooth = np.fft.irfft2(np.fft.rfft2(noise, axes=(1, 2)) * amplitude, s=(size, size), axes=(1, 2))
        smooth /= smooth.std(axis=(1, 2, 3), keepdims=True)
        level = generator.uniform(64, 192, (len(noise), 1, 1, 3))
        images[start : start + len(noise)] = np.clip(level + 48 * smooth, 0, 255)[..., :channels]
    images.flush()


def write_pictures(path: pathlib.Path, folder: pathlib.Path, size: int) -> None:
    """Write the PNG and JPEG files of `folder` to a .npy: uint8 [files, size, size, 3], resized, on white."""
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in {".png", ".jpg", ".jpeg"})
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (len(files), size, size, 3))
    for i, file in enumerate(files):
        picture = Image.open(file).convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        resized = Image.alpha_composite(white, picture).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        images[i] = np.asarray(resized)
    images.flush()
