"""Feature spaces by their names on the command line."""

import difflib
import pathlib

import numpy as np

from fdrl_jax.evaluation.features.efficientnet_lite0 import lite0
from fdrl_jax.evaluation.features.feature_space import Examples, Features, pixels
from fdrl_jax.evaluation.features.inception_fid import inception_fid
from fdrl_jax.evaluation.features.inception_torchvision import inception_torchvision
from fdrl_jax.evaluation.features.pretrained_weights import find_weights
from fdrl_jax.types import InputError
from fdrl_jax.utils.user_functions import function_of_file

NAMES = ("pixels", "inception", "inception-torchvision", "lite0")


def get(name: str, weights: str | pathlib.Path | None = None) -> Features:
    """Return the feature space `name`.

    Args:
      name: one of `NAMES`, or FILE.py:FUNCTION for the user's own function from uint8 images [n, H, W, C] to vectors
        [n, d]. That file is Python code, and is run.
      weights: file of the network's weights; by default the installed, cached or newly downloaded file.

    Raises:
      InputError: the space does not exist, or its weights cannot be obtained or belong to another network.
    """
    if weights is not None and (name == "pixels" or ":" in name):
        raise InputError(f"features {name!r} have no weights: leave {weights} out")
    if ":" in name:
        return custom(name)
    if name == "pixels":
        return pixels()
    if name == "lite0":
        return lite0(weights)
    if name == "inception":
        return inception_fid(find_weights(name, weights))
    if name == "inception-torchvision":
        return inception_torchvision(find_weights(name, weights))
    close = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.0)
    raise InputError(
        f"features {name!r} are not known, did you mean {close[0]!r}? There are {', '.join(NAMES)}, FILE.py:FUNCTION"
    )


def custom(name: str) -> Features:
    """Return a feature space made of the user's own function.

    Args:
      name: FILE.py:FUNCTION, see `get`.

    Raises:
      InputError: the file cannot be run or has no such function. `apply` raises it if the function does not return
        vectors [n, d].
    """
    function, path, digest = function_of_file(name, "features")

    def apply(images: Examples) -> np.ndarray:
        vectors = np.asarray(function(images))
        if vectors.ndim != 2 or len(vectors) != len(images) or vectors.dtype.kind not in "fiu":
            actual = f"{vectors.dtype} {list(vectors.shape)}"
            raise InputError(
                f"features {name!r} returned {actual} for {len(images)} images, not numbers [n, d]: fix {path}"
            )
        return vectors

    return Features(
        name, f"{name.rpartition(':')[2]} in {path.name}, a function of images in 8 bits", f"custom-1-{digest}", apply
    )
