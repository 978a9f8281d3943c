"""Data sets prepared by TensorFlow Datasets (TFDS), read without TensorFlow."""

import os
import pathlib
from typing import Any

import numpy as np

from fdrl_jax.data.readers.base import signature
from fdrl_jax.data.readers.messages import one_line
from fdrl_jax.data.transform import ImageError
from fdrl_jax.types import InputError


class TfdsReader:
    """The images of one split of a TFDS data set; see `tfds`."""

    labels = None

    def __init__(self, name: str, split: str, source: Any, digest: str) -> None:
        self._name, self._source, self._digest = f"{name} {split}", source, digest

    def __len__(self) -> int:
        return len(self._source)

    def name(self, index: int) -> str:
        return f"{self._name} example {index}"

    def read(self, index: int) -> np.ndarray:
        try:
            image = np.asarray(self._source[index]["image"])
        except Exception as error:  # array_record and the decoders each raise errors of their own types.
            raise ImageError(f"cannot be read ({one_line(error)}): prepare the data set again") from None
        if image.dtype != np.uint8:
            raise ImageError(f"has {image.dtype} pixels: only uint8 can be read")
        return image

    def signature(self) -> str:
        return self._digest


def tfds(name: str, split: str = "train") -> TfdsReader:
    """Open the feature 'image' of a TFDS data set that was prepared in the format array_record.

    Args:
      name: name of the data set in TFDS, such as "mnist", "lsun/bedroom", "celeb_a:2.1.0".
      split: split in TFDS's notation, such as "train", "train[:80%]".

    Raises:
      InputError: TFDS is not installed, the data set was not prepared, or it has no images.
    """
    try:
        import tensorflow_datasets  # Imported here because it is optional and slow to import.
    except ImportError as error:
        raise InputError(
            f"config.data.name = 'tfds' needs tensorflow_datasets ({one_line(error)}): pip install 'fdrl_jax[tfds]'"
        ) from None
    try:
        builder = tensorflow_datasets.builder(name)
        source = builder.as_data_source(split=split)
        features = list(builder.info.features)
        folder = pathlib.Path(os.fspath(builder.data_dir))
    except Exception as error:  # TFDS raises many types, such as AssertionError and NotImplementedError.
        reason = str(error).strip().split("\n")[0]  # The following lines list a thousand data sets.
        raise InputError(
            f"TFDS data set {name!r}, split {split!r}, cannot be read ({reason or type(error).__name__}): prepare it "
            f"where TensorFlow is installed, with tfds build {name} --file_format=array_record"
        ) from None
    if "image" not in features:
        raise InputError(f"TFDS data set {name!r} has {', '.join(features)} and no 'image': choose another")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return TfdsReader(name, split, source, signature(((path.name, path.stat()) for path in files), split))
