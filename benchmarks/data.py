"""Images per second that the sampler and its prefetch thread hand to a training loop whose step does nothing.

    python -m benchmarks.data [--seconds=S] [--cache=FOLDER]

A memory-mapped uint8 file of random images, as `--mode=prepare` leaves it: 50,000 of 32x32x3 (CIFAR-10's size) and
20,000 of 128x128x3; batches of 64, flips on, each batch put on the device, epochs shuffled. The file is read once
before the clock starts, so it is in memory if memory suffices. Should reach 20,000 and 2,000 images/s.
"""

import argparse
import contextlib
import tempfile
import time

import jax
import numpy as np

from benchmarks.environment import describe
from fdrl_jax import data

BATCH_SIZE = 64
SETS = {32: 50_000, 128: 20_000}


def images_per_second(images: np.ndarray, seconds: float, batch_size: int = BATCH_SIZE) -> float:
    dataset = data.ArrayDataset(images, flip=True)
    batches = data.prefetch(lambda step: jax.device_put(dataset.batch(0, step, batch_size)), 0, 10**9)
    with contextlib.closing(batches):
        for _ in range(10):
            next(batches)
        start, count = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < seconds:
            jax.block_until_ready(next(batches))
            count += batch_size
    return count / elapsed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--cache", help="folder for the temporary files, 1.1 GiB")
    arguments = parser.parse_args()
    print(describe())
    for size, count in SETS.items():
        with tempfile.TemporaryFile(dir=arguments.cache) as file:
            block = np.random.default_rng(0).integers(0, 256, (1000, size, size, 3), dtype=np.uint8)
            for _ in range(count // len(block)):
                file.write(block.tobytes())
            file.flush()
            images = np.memmap(file, np.uint8, "r", shape=(count, size, size, 3))
            images.max()
            print(f"{size}x{size}: {images_per_second(images, arguments.seconds):,.0f} images/s", flush=True)
