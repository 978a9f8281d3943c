"""The interface of a feature space, and the simplest one: the pixels themselves.

A feature space is a named, fixed map from images (or points) to vectors, in which two sets are compared.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from fdrl_jax.types import Images, InputError

Examples = Images | Float[np.ndarray, "_n _d"]


@dataclass(frozen=True)
class Features:
    """A feature space.

    Attributes:
      name: name on the command line.
      protocol: one sentence with everything that a number in this space depends on: network, weights, resize, rounding.
      fingerprint: string that changes whenever the vectors would change; made of the name and the digest of the
        weights.
      apply: function from uint8 images [n, H, W, C] (or float32 points [n, D]) to vectors [n, d], float32; the pixels
        keep their dtype. Rows do not depend on one another, beyond rounding.
      takes: kind of images that `apply` is defined for: "uint8", rounded as in a file, or "float", float32 in [-1, 1]
        as a model samples them. A space of "float" accepts uint8 too, for data that exists only rounded.
    """

    name: str
    protocol: str
    fingerprint: str
    apply: Callable[[Examples], np.ndarray]
    takes: Literal["uint8", "float"] = "uint8"

    @property
    def slug(self) -> str:
        """The name with only the characters that are safe in a file name."""
        return re.sub(r"[^a-zA-Z0-9_-]+", "-", self.name).strip("-")


def pixels() -> Features:
    """Return the space of the examples themselves, flattened: uint8 pixels in 0..255, or coordinates of points."""
    return Features("pixels", "pixels in 0..255, flattened", "pixels-1", lambda x: x.reshape(len(x), -1))


def check_images(name: str, images: Examples, takes: Literal["uint8", "float"]) -> None:
    """Refuse arrays that a network of images cannot process.

    Args:
      name: name of the feature space, for the message.
      images: the array to check.
      takes: see `Features.takes`.

    Raises:
      InputError: `images` is not [n, H, W, 1 or 3] of uint8 or, where `takes` is "float", of float32.
    """
    dtypes = ("uint8", "float32") if takes == "float" else ("uint8",)
    if images.ndim != 4 or images.shape[3] not in (1, 3) or images.dtype.name not in dtypes:
        actual = f"{images.dtype} {list(images.shape)}"
        raise InputError(
            f"{name} takes images, {' or '.join(dtypes)} [n, H, W, 1 or 3], not {actual}: use another space"
        )
