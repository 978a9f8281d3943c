"""Subsets of the images of a reader: every n-th image, or the images of one class."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64
from PIL import Image

from fdrl_jax.data.readers import Reader
from fdrl_jax.types import InputError


@dataclass(frozen=True)
class Subset:
    """A reader of some images of `whole`, in the order of `indices`.

    Attributes:
      whole: the reader from which images are chosen.
      indices: indices of the chosen images in `whole`.
      choice: short description of the choice, which is part of the signature.
    """

    whole: Reader
    indices: range | Int64[np.ndarray, " n"]
    choice: str

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, index: int) -> str:
        return self.whole.name(int(self.indices[index]))

    def read(self, index: int) -> Image.Image | np.ndarray:
        return self.whole.read(int(self.indices[index]))

    def signature(self) -> str:
        return f"{self.whole.signature()}:{self.choice}"

    @property
    def labels(self) -> Int64[np.ndarray, " n"] | None:
        return None if self.whole.labels is None else self.whole.labels[np.asarray(self.indices)]


def every_nth(whole: Reader, first: int, n: int) -> Subset:
    """Choose every `n`-th image, starting at image `first`. The subsets of first = 0, ..., n - 1 are disjoint."""
    return Subset(whole, range(first, len(whole), n), f"{first}/{n}")


def of_class(whole: Reader, label: int) -> Subset:
    """Choose the images of one class.

    Raises:
      InputError: the files have no labels, or no image of that class.
    """
    if whole.labels is None:
        raise InputError(
            f"config.data.label = {label} chooses a class, but the images have no labels (the first is "
            f"{whole.name(0)}): leave it out, or add the file of labels to the images"
        )
    indices = np.flatnonzero(whole.labels == label)
    if not len(indices):
        known = ", ".join(map(str, np.unique(whole.labels)))
        raise InputError(f"config.data.label = {label} is the class of no image: there are {known}")
    return Subset(whole, indices, f"label {label}")
