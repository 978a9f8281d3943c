"""What robust_resnet50.npz was computed from: weights and images that PyTorch's side and ours both compute."""

import zlib

import numpy as np

COUNT = 3


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"robust/{name}".encode()))


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor of a state_dict: activations stay near 1, and no batch norm is trivial."""
    draws = generator(name)
    if name.endswith("running_var"):
        return draws.uniform(0.6, 1.6, shape).astype(np.float32)
    if name.endswith(("bn1.weight", "bn2.weight")):
        return draws.uniform(0.7, 1.3, shape).astype(np.float32)
    if name.endswith(("bn3.weight", "shortcut.1.weight")):  # Of two branches that are added.
        return draws.uniform(0.4, 0.8, shape).astype(np.float32)
    if len(shape) == 1:
        return draws.uniform(-0.3, 0.3, shape).astype(np.float32)
    # ReLU halves the second moment.
    return draws.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))


def state_dict(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {name: tensor(name, tuple(shape)) for name, shape in shapes.items()}


def images() -> np.ndarray:
    """float32 [COUNT, 32, 32, 3], most in [-1, 1]."""
    draws = generator("images")
    y, x = np.mgrid[:32, :32] / 32
    waves, phase = draws.uniform(2, 12, (2, COUNT, 3, 1, 1)), draws.uniform(0, 6, (COUNT, 3, 1, 1))
    picture = np.sin(waves[0] * y + waves[1] * x + phase) + 0.2 * draws.standard_normal((COUNT, 3, 32, 32))
    return picture.transpose(0, 2, 3, 1).astype(np.float32)
