"""Small sets of images with the spectrum of photographs, and an array that records how it was read."""

import numpy as np


def smooth_images(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Return uint8 [count, size, size, 3]: random fields of amplitude 1 / frequency, each with its own mean."""
    generator = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    amplitude = 1 / np.maximum(frequency, 1 / size)[None, :, :, None]
    noise = np.fft.fft2(generator.standard_normal((count, size, size, 3)), axes=(1, 2))
    fields = np.fft.ifft2(noise * amplitude, axes=(1, 2)).real
    fields *= 40 / fields.std(axis=(1, 2, 3), keepdims=True)
    return np.clip(generator.uniform(64, 192, (count, 1, 1, 3)) + fields, 0, 255).astype(np.uint8)


class Recorded:
    """An array that can only be sliced, and that records the slices.

    Attributes:
      reads: the indices of every slice so far, except slices of no or one index.
    """

    def __init__(self, array: np.ndarray):
        self._array = array
        self.shape = array.shape
        self.reads: list[list[int]] = []

    def __getitem__(self, index: slice) -> np.ndarray:
        indices = list(range(*index.indices(len(self._array))))
        if len(indices) > 1:
            self.reads.append(indices)
        return self._array[index]


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the error relative to `expected`, in the Frobenius norm."""
    return float(np.linalg.norm(actual.astype(np.float64) - expected) / np.linalg.norm(expected))
