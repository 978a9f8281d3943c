"""Images per second that the data pipeline gives to a training loop whose step does nothing.

    python -m benchmarks.speed.data_pipeline [--seconds=S] [--cache=FOLDER]

The data are memory-mapped uint8 files of random images, as `--mode=prepare` writes them: 50,000 of 32x32x3 (CIFAR-10's
size) and 20,000 of 128x128x3. Batches of 64 are shuffled, flipped at random, prefetched by a thread and put on the
device. Each file is read once before the clock starts, so it is in memory if memory suffices. The aims are 20,000 and
2,000 images/s.
"""

import argparse
import contextlib
import tempfile
import time

import jax
import numpy as np

from benchmarks.common.environment import describe
from fdrl_jax import data

BATCH_SIZE = 64
SETS = {32: 50_000, 128: 20_000}  # number of images by size in pixels
WARM_UP = 10  # batches that are not counted


def seconds_per_batch(dataset: data.Dataset, batch_size: int, duration: float) -> float:
    """Return the seconds per batch in a loop that does nothing else for `duration` seconds."""
    batches = data.prefetch(lambda step: jax.device_put(dataset.batch(0, step, batch_size)), 0, 10**9)
    with contextlib.closing(batches):
        for _ in range(WARM_UP):
            next(batches)
        start, count = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < duration:
            jax.block_until_ready(next(batches))
            count += 1
    return elapsed / count


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="seconds that each size is measured for")
    parser.add_argument("--cache", help="folder for the temporary files, 1.1 GiB")
    options = parser.parse_args(argv)
    print(describe())
    for size, count in SETS.items():
        with tempfile.TemporaryFile(dir=options.cache) as file:
            block = np.random.default_rng(0).integers(0, 256, (1000, size, size, 3), dtype=np.uint8)
            for _ in range(count // len(block)):
                file.write(block.tobytes())
            file.flush()
            images = np.memmap(file, np.uint8, "r", shape=(count, size, size, 3))
            images.max()
            rate = BATCH_SIZE / seconds_per_batch(data.ArrayDataset(images, flip=True), BATCH_SIZE, options.seconds)
            print(f"{size}x{size}: {rate:,.0f} images/s", flush=True)


if __name__ == "__main__":
    main()
