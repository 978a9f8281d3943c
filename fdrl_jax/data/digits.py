"""scikit-learn's handwritten digits as a data set."""

import numpy as np
from jaxtyping import Int64

from fdrl_jax.data.batch_sampler import ArrayDataset


def digits() -> ArrayDataset:
    """Load scikit-learn's 1797 handwritten digits, uint8 [1797, 8, 8, 1].

    They are the test set of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998; CC BY 4.0)
    and are part of scikit-learn's wheel. The 17 grey levels of the files are scaled to 0..255.
    """
    from sklearn.datasets import load_digits  # Imported here because it takes a second, which only this set needs.

    return ArrayDataset(np.rint(load_digits().images[..., None] * (255 / 16)).astype(np.uint8))


def digits_labels() -> Int64[np.ndarray, "1797"]:
    """Load the classes 0..9 of the images of `digits`, in the same order."""
    from sklearn.datasets import load_digits

    return load_digits().target.astype(np.int64)
