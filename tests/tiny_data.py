"""A few small images in the files that each kind of data set has, so that any shipped config can be run."""

import gzip
import io
import pathlib
import pickle
import struct

import lmdb
import numpy as np
from PIL import Image

COUNT = 24


def photographs(height: int, width: int, channels: int = 3, count: int = COUNT) -> np.ndarray:
    """Smooth random images: uint8 [count, height, width, channels], no two alike."""
    coarse = np.random.default_rng(height * width).integers(0, 256, (count, 3, 3, channels), dtype=np.uint8)
    return np.stack(
        [
            np.stack(
                [
                    np.asarray(Image.fromarray(image[..., c]).resize((width, height), Image.Resampling.BICUBIC))
                    for c in range(channels)
                ],
                axis=-1,
            )
            for image in coarse
        ]
    )


def encoded(image: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def write(name: str, path: pathlib.Path) -> None:
    """Write what the reader called `name` (as in config.data.name) finds at `path`."""
    path.mkdir(parents=True)
    match name:
        case "cifar10":
            (path / "cifar-10-batches-py").mkdir()
            # Six files, as there are; the reader wants all of them.
            for i, file in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
                rows = np.roll(photographs(32, 32), i, axis=0).transpose(0, 3, 1, 2).reshape(COUNT, -1)
                content = {b"data": rows, b"labels": [j % 10 for j in range(COUNT)]}
                (path / "cifar-10-batches-py" / file).write_bytes(pickle.dumps(content, protocol=2))
        case "celeba":
            (path / "img_align_celeba").mkdir()
            names = [f"{i + 1:06d}.jpg" for i in range(COUNT)]
            for file, image in zip(names, photographs(218, 178), strict=True):
                (path / "img_align_celeba" / file).write_bytes(encoded(image, "JPEG"))
            (path / "list_eval_partition.txt").write_text("".join(f"{file} 0\n" for file in names))
        case "lsun":
            with lmdb.open(str(path), map_size=2**24) as database, database.begin(write=True) as transaction:
                for i, image in enumerate(photographs(256, 341)):
                    transaction.put(b"%040x" % i, encoded(image, "WEBP"))
        case "folder":
            for i, image in enumerate(photographs(64, 64)):
                (path / f"{i:04d}.png").write_bytes(encoded(image, "PNG"))
        case "idx":
            images = photographs(28, 28, channels=1)
            header = struct.pack(">4B3I", 0, 0, 8, 3, *images.shape[:3])
            (path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
        case _:
            raise AssertionError(name)
