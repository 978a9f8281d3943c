"""Images from which the flow starts, in place of draws of a prior: sample i starts from image i."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float, UInt8


@dataclass(frozen=True)
class FixedImages:
    """A source without randomness except its noise: sample i starts from image i, whatever its key.

    `sampling.sample` accepts it in place of a prior.

    Attributes:
      images: the images, uint8 [n, H, W, C], or float in [-1, 1].
      noise: standard deviation of Gaussian noise added to the pixels in [-1, 1], not clipped after; see `Empirical`.
    """

    images: UInt8[Array | np.ndarray, "n h w c"] | Float[Array | np.ndarray, "n h w c"]
    noise: float = 0.0

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.images.shape[1:]

    def rows(self, first: int, count: int) -> UInt8[np.ndarray, "count h w c"] | Float[np.ndarray, "count h w c"]:
        """Return images first, ..., first + count - 1.

        Beyond the end the last image is repeated, so that every batch has the same size.
        """
        rows = np.asarray(self.images)[np.minimum(first + np.arange(count), len(self.images) - 1)]
        return rows if rows.dtype == np.uint8 else rows.astype(np.float32)
