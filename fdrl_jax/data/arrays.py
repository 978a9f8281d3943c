"""Data sets that are an array in memory, and their stateless batch sampler."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int64, UInt8

from fdrl_jax.types import InputError


@dataclass(frozen=True)
class ArrayDataset:
    """Batches from an array: epoch after epoch of fresh permutations, read as one endless sequence.

    Step s takes positions s size, ..., (s + 1) size - 1 of it, so no example is lost or repeated where
    an epoch ends inside a batch.

    Attributes:
      examples: [n, *event], uint8 images or float32 points.
      flip: mirror each image left to right with probability 1/2.
      digest: of the examples, where they were read from files: a run keeps it, so as not to go on with others.
    """

    examples: UInt8[np.ndarray, "n *event"] | Float[np.ndarray, "n *event"]
    flip: bool = False
    digest: str | None = None
    _permutation: Callable[[int, int], np.ndarray] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.examples) == 0:
            raise InputError("the data set is empty")
        size = len(self.examples)

        # A batch spans at most a few epochs; without the cache each step would shuffle the whole data set.
        @functools.lru_cache(maxsize=4)
        def permutation(seed: int, epoch: int) -> np.ndarray:
            return np.random.default_rng([seed, epoch]).permutation(size)

        object.__setattr__(self, "_permutation", permutation)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.examples.shape[1:]

    def indices(self, seed: int, step: int, size: int) -> np.ndarray:
        """Which examples make the batch, int64 [size]."""
        positions = step * size + np.arange(size)
        epochs, places = np.divmod(positions, len(self.examples))
        return np.concatenate(
            [self._permutation(seed, int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)]
        )

    def batch(self, seed: int, step: int, size: int, rows: slice = slice(None)) -> np.ndarray:
        """[size, *event], in the dtype of `examples`; of it `rows`, and only those are read."""
        batch = self.examples[self.indices(seed, step, size)[rows]]
        if self.flip:
            mirrored = np.random.default_rng([seed, step, 1]).random(size)[rows] < 0.5
            batch[mirrored] = batch[mirrored, :, ::-1]
        return batch


def digits() -> ArrayDataset:
    """scikit-learn's 1797 handwritten digits, uint8 [1797, 8, 8, 1].

    The test set of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998; CC BY 4.0), in
    scikit-learn's wheel. Its 17 grey levels are spread over 0..255.
    """
    from sklearn.datasets import load_digits  # Imported here: it takes a second, and other data sets do without.

    return ArrayDataset(np.rint(load_digits().images[..., None] * (255 / 16)).astype(np.uint8))


def digits_labels() -> Int64[np.ndarray, "1797"]:
    """Which digit each of `digits` is."""
    from sklearn.datasets import load_digits

    return load_digits().target.astype(np.int64)
