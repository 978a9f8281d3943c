"""What inception.npz was computed from: weights, images and features that PyTorch's side and ours both compute."""

import zlib

import numpy as np

# Height, width and channels of the pictures; features of the first few are stored.
SIZES = {"small": (3, 32, 32, 3), "large": (2, 299, 299, 3)}
RESIZES = {"up": (32, 32), "wide": (20, 47), "same": (299, 299), "down": (340, 411)}


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor of a state_dict: activations stay near 1, and no batch norm is trivial."""
    draws = generator(name)
    if name.endswith("running_var"):
        return draws.uniform(0.6, 1.6, shape).astype(np.float32)
    if name.endswith(("bn.weight", "bn1.weight")):
        return draws.uniform(0.7, 1.3, shape).astype(np.float32)
    if len(shape) == 1:
        return draws.uniform(-0.3, 0.3, shape).astype(np.float32)
    # ReLU halves the second moment.
    return draws.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))


def state_dict(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {name: tensor(name, tuple(shape)) for name, shape in shapes.items()}


def images(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 [n, h, w, c]: a few coarse waves and noise."""
    draws = generator(name)
    n, h, w, c = shape
    y, x = np.mgrid[:h, :w]
    waves = draws.uniform(1, 6, (n, 2, c, 1, 1))
    phase = draws.uniform(0, 6, (n, c, 1, 1))
    picture = 127 + 90 * np.sin(waves[:, 0] * y / h + waves[:, 1] * x / w * 3 + phase)
    picture = picture + draws.integers(-30, 31, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def floats(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 in [-1, 1] that lie between the 8-bit values."""
    noise = generator(name + "/noise").uniform(-0.003, 0.003, shape)
    return np.clip(images(name, shape) / 127.5 - 1 + noise, -1, 1).astype(np.float32)


def frechet_features(name: str) -> np.ndarray:
    """float32 [200, 64], correlated; b is shifted and turned."""
    draws = generator(name)
    mixing = draws.standard_normal((64, 64)) / 8
    return (draws.standard_normal((200, 64)) @ mixing + draws.uniform(0, 1, 64)).astype(np.float32)
