"""A few small images in the files that each kind of data set has, so that any shipped config can be run."""

import pathlib

import numpy as np
import real_files

COUNT = 24


def write(name: str, path: pathlib.Path, label: int = 0) -> None:
    """Write what the reader called `name` (as in config.data.name) finds at `path`, all of one class."""

    def pictures(count: int, height: int, width: int) -> tuple[np.ndarray, ...]:
        return real_files.colour_pictures("computed", count, height, width)

    match name:
        case "cifar10":
            # Of six equal batches, five are for training.
            count = COUNT * 6 // 5
            real_files.write_files(path, real_files.cifar_files(pictures(count, 32, 32), [label] * count))
        case "celeba":
            real_files.write_celeba(path, pictures(COUNT, 218, 178), [0] * COUNT)
        case "lsun":
            real_files.write_lsun(path, [real_files.encoded(image, "WEBP") for image in pictures(COUNT, 256, 341)])
        case "folder":
            images = enumerate(pictures(COUNT, 64, 64))
            real_files.write_files(path, {f"{i:04d}.png": real_files.encoded(image, "PNG") for i, image in images})
        case "idx":
            grey = np.stack(pictures(COUNT, 28, 28))[..., 0]
            real_files.write_idx(path, grey, np.full(COUNT, label, np.uint8), zipped=True)
        case _:
            raise AssertionError(name)
