"""The photographs that lite0.npz was computed from: pieces of scikit-learn's, of the size that the network takes."""

import numpy as np
from sklearn.datasets import load_sample_image


def photographs() -> list[np.ndarray]:
    """uint8 [224, 224, 3]: two pieces of china.jpg, two of flower.jpg."""
    corners = {"china.jpg": ((0, 0), (120, 330)), "flower.jpg": ((0, 130), (150, 300))}
    images = {name: load_sample_image(name) for name in corners}
    return [images[name][y : y + 224, x : x + 224] for name, places in corners.items() for y, x in places]
