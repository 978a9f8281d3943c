"""Make torchvision_resize.npz: what torchvision's transforms make of a few pictures.

    pip install torch==2.13.0 && pip install --no-deps torchvision==0.28.0 pillow numpy
    python tests/goldens/make_torchvision_resize.py

The pictures are not stored: `picture` computes them, here and in tests/data/test_transform.py.
"""

import json
import pathlib

import numpy as np

OUTPUT = pathlib.Path(__file__).parent / "torchvision_resize.npz"


def picture(height: int, width: int, channels: int) -> np.ndarray:
    """Slopes, edges and texture, uint8 [height, width, channels]."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    texture = (x * x * (7 + c) + 3 * x * y + y * y * 5) // 16
    return np.where((x // 23 + y // 17 + c) % 3 == 0, texture, 3 * x + 2 * y + 80 * c).astype(np.uint8)


# Our spelling, height, width, channels. `main` has torchvision's.
CASES = [
    ("center_crop:140,resize:64", 218, 178, 3),  # CelebA
    ("resize:128x128", 205, 301, 3),  # LSUN, one of its sizes
    ("resize:84x84,center_crop:64", 216, 216, 3),  # Cat2dog
    ("resize:84,center_crop:64", 216, 301, 3),
    ("resize:84,center_crop:64", 173, 97, 3),
    ("resize:33", 47, 47, 3),
    ("resize:65,center_crop:64", 91, 65, 1),  # Already of the size: untouched
    ("resize:64,center_crop:64", 21, 30, 3),  # Enlarged
    ("resize:70x40,center_crop:48", 31, 77, 1),  # One side enlarged, padded in the other
    ("center_crop:64", 65, 127, 3),  # Halves that round to even: 0.5 and 31.5
    ("center_crop:48", 51, 53, 1),  # 1.5 and 2.5
    ("center_crop:48", 29, 40, 3),  # Smaller
    ("center_crop:48", 29, 61, 1),  # Lower and wider
    ("center_crop:33x48,resize:24x24", 40, 41, 3),
    ("pad:32", 28, 28, 1),
    ("rgb,resize:20x20", 28, 28, 1),
    ("grey,resize:20x20", 28, 33, 3),
]


def name(spec: str, height: int, width: int, channels: int) -> str:
    return f"{spec} of {height}x{width}x{channels}"


def main() -> None:
    import PIL
    import torch

    # The CPU build of torch lacks them, and torchvision does not start without; nothing here calls them.
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
    from torchvision import transforms

    theirs = {
        "center_crop:140,resize:64": [transforms.CenterCrop(140), transforms.Resize(64)],
        "resize:128x128": [transforms.Resize((128, 128))],
        "resize:84x84,center_crop:64": [transforms.Resize((84, 84)), transforms.CenterCrop(64)],
        "resize:84,center_crop:64": [transforms.Resize(84), transforms.CenterCrop(64)],
        "resize:33": [transforms.Resize(33)],
        "resize:65,center_crop:64": [transforms.Resize(65), transforms.CenterCrop(64)],
        "resize:64,center_crop:64": [transforms.Resize(64), transforms.CenterCrop(64)],
        "resize:70x40,center_crop:48": [transforms.Resize((70, 40)), transforms.CenterCrop(48)],
        "center_crop:64": [transforms.CenterCrop(64)],
        "center_crop:48": [transforms.CenterCrop(48)],
        "center_crop:33x48,resize:24x24": [transforms.CenterCrop((33, 48)), transforms.Resize((24, 24))],
        "pad:32": [transforms.Pad(2)],
        "rgb,resize:20x20": [transforms.Grayscale(3), transforms.Resize((20, 20))],
        "grey,resize:20x20": [transforms.Grayscale(1), transforms.Resize((20, 20))],
    }
    arrays = {}
    for case in CASES:
        spec, *shape = case
        pixels = picture(*shape)
        image = PIL.Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels)
        made = np.asarray(transforms.Compose(theirs[spec])(image))
        arrays[name(*case)] = made[..., None] if made.ndim == 2 else made
    versions = {module.__name__: module.__version__ for module in (torch, torchvision, PIL, np)}
    np.savez_compressed(OUTPUT, versions=json.dumps(versions), **arrays)
    print(f"{OUTPUT}: {len(arrays)} arrays, {OUTPUT.stat().st_size} bytes, {versions}")


if __name__ == "__main__":
    main()
