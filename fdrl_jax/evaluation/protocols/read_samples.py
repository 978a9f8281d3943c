"""Samples to evaluate, read from an .npz file or a folder of PNG files (`--samples`)."""

import pathlib

import numpy as np

from fdrl_jax import data
from fdrl_jax.data.transform import ImageError
from fdrl_jax.experiment.workdir_files import read_arrays
from fdrl_jax.types import InputError
from fdrl_jax.utils.pixel_scaling import to_float


def read_samples(samples: np.ndarray | pathlib.Path, event_shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """Return samples as float32, images in [-1, 1], and a description of their source.

    Args:
      samples: an array, an .npz file with an array `samples`, or a folder of PNG files.
      event_shape: shape of one sample of the model.

    Raises:
      InputError: the samples cannot be read, are in a lossy format (JPEG), have another shape than the model's, or are
        images with values outside [-1, 1].
    """
    source = "given" if isinstance(samples, np.ndarray) else str(samples)
    if isinstance(samples, pathlib.Path):
        samples = _read_folder(samples) if samples.is_dir() else _read_npz(samples)
    if samples.shape[1:] != event_shape or not len(samples):
        raise InputError(
            f"the samples {source} have shape {samples.shape}, not [n, {', '.join(map(str, event_shape))}]"
        )
    if samples.dtype != np.uint8 and not np.issubdtype(samples.dtype, np.floating):
        raise InputError(f"the samples {source} are {samples.dtype}: give uint8 images, or floats in [-1, 1]")
    if samples.dtype == np.uint8:
        return to_float(samples), source
    # The comparison is also False for NaN. Points may have any finite or infinite value.
    if not (np.abs(samples) <= (1 if len(event_shape) == 3 else np.inf)).all():
        raise InputError(
            f"the samples {source} have values beyond [-1, 1], or NaN: give images as --mode=sample writes them"
        )
    return samples.astype(np.float32), source


def _read_npz(path: pathlib.Path) -> np.ndarray:
    if path.suffix != ".npz":
        raise InputError(f"--samples={path} must be an .npz file or a folder of PNG files (JPEG changes the pixels)")
    arrays = read_arrays(path)
    if "samples" not in arrays:
        raise InputError(f"--samples={path} has no array 'samples': write it with --mode=sample --out=FILE.npz")
    return arrays["samples"]


def _read_folder(path: pathlib.Path) -> np.ndarray:
    for kind, suffixes in (("JPEG", (".jpg", ".jpeg")), ("WebP", (".webp",))):
        files = [file for file in path.rglob("*") if file.suffix.lower() in suffixes]
        if files:
            raise InputError(
                f"--samples={path} has {kind} files ({files[0].name}), which may have changed the pixels: use PNG or "
                "npz"
            )
    try:
        reader = data.readers.folder(path)
    except InputError as error:
        raise InputError(f"--samples: {error}".replace("config.data.path", "--samples")) from None
    images = []
    for i in range(len(reader)):
        try:
            images.append(np.asarray(reader.read(i)))
        except ImageError as error:
            raise InputError(f"--samples: {reader.name(i)} {error}") from None
    if len({image.shape for image in images}) != 1:
        raise InputError(f"--samples={path} has images of different sizes: all must have the model's size")
    stacked = np.stack(images)
    return stacked if stacked.ndim == 4 else stacked[..., None]
