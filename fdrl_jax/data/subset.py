"""A part of the images of a reader."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from fdrl_jax.data.readers import Reader


@dataclass(frozen=True)
class EveryNth:
    """A reader of every `n`-th image of `whole`, from image `first` on: disjoint parts for one `n`."""

    whole: Reader
    first: int
    n: int

    def __len__(self) -> int:
        return len(range(self.first, len(self.whole), self.n))

    def _index(self, index: int) -> int:
        return self.first + index * self.n

    def name(self, index: int) -> str:
        return self.whole.name(self._index(index))

    def read(self, index: int) -> Image.Image | np.ndarray:
        return self.whole.read(self._index(index))

    def signature(self) -> str:
        return f"{self.whole.signature()}:{self.first}/{self.n}"

    @property
    def labels(self) -> np.ndarray | None:
        return None if self.whole.labels is None else self.whole.labels[self.first :: self.n]
