"""Stateless sampling from an array in memory: the batch of a step as a function of (seed, step)."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

from fdrl_jax.types import InputError


@dataclass(frozen=True)
class ArrayDataset:
    """Batches from an array, in a new random order in every epoch.

    The permutations of epochs 0, 1, ... form one endless sequence. The batch of step s consists of its positions
    s size, ..., (s + 1) size - 1, so that no example is lost or repeated when an epoch ends inside a batch.

    Attributes:
      examples: the data, [n, *event], uint8 images or float32 points.
      flip: mirror each image left to right with probability 1/2.
      digest: hash of the examples, if they were read from files. A run stores it, in order to refuse to resume with
        other data.
    """

    examples: UInt8[np.ndarray, "n *event"] | Float[np.ndarray, "n *event"]
    flip: bool = False
    digest: str | None = None
    _permutation: Callable[[int, int], np.ndarray] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.examples) == 0:
            raise InputError("the data set is empty")
        size = len(self.examples)

        # Without this cache each step would shuffle the whole data set. A batch spans at most a few epochs.
        @functools.lru_cache(maxsize=4)
        def permutation(seed: int, epoch: int) -> np.ndarray:
            return np.random.default_rng([seed, epoch]).permutation(size)

        object.__setattr__(self, "_permutation", permutation)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.examples.shape[1:]

    def indices(self, seed: int, step: int, size: int) -> np.ndarray:
        """Return the indices of the examples in the batch of `step`, int64 [size]."""
        positions = step * size + np.arange(size)
        epochs, offsets = np.divmod(positions, len(self.examples))
        return np.concatenate(
            [self._permutation(seed, int(epoch))[offsets[epochs == epoch]] for epoch in np.unique(epochs)]
        )

    def batch(self, seed: int, step: int, size: int, rows: slice = slice(None)) -> np.ndarray:
        """Return the `rows` of the batch of `step`, [size, *event] in the dtype of `examples`. No others are read."""
        batch = self.examples[self.indices(seed, step, size)[rows]]
        if self.flip:
            mirrored = np.random.default_rng([seed, step, 1]).random(size)[rows] < 0.5
            batch[mirrored] = batch[mirrored, :, ::-1]
        return batch
