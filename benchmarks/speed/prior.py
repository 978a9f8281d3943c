"""Time, memory and accuracy of the fitted Gaussian priors at 3x32x32, 3x64x64 and 3x128x128 values.

    python -m benchmarks.speed.prior [--size=32|64|128] [--rank=R] [--images=synthetic|DIR|FILE.npy] [--count=8000]
                                     [--methods=exact,low-rank] [--out=FILE.json]

The images are smooth random ones (amplitude 1 / frequency, as that of photographs), the pictures of a folder, resized,
or uint8 images in a .npy. Each method runs in a process of its own, so that its peak of memory is its own:

- resident_gib: peak memory of the process (getrusage); anonymous_gib: the part of it that is not pages of files (Linux
  only).
- covariance_error: relative error of 512 x 512 entries of the covariance, of random rows and columns, compared with
  float64 (Frobenius norm); factor_error: the same of L L^T, compared with the float32 covariance that was factored.
- smallest_pivot: the smallest pivot of the factorisation. Its jitter is 1e-4; a pivot near or below that shows that
  rounding errors have used up the jitter.
- draw_64_s: seconds of 64 draws, the second time; resident_with_draws_gib shows that they make no copy of the factor.
- variance_kept: share of the variance that the low rank keeps; w2: Wasserstein-2 distance to the exact Gaussian, up to
  3072 values, to be compared with root_total_variance, the root of the exact one's total variance.
"""

import argparse
import json
import math
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import jax
import numpy as np

from benchmarks.common.environment import describe
from benchmarks.speed.image_files import write_pictures, write_synthetic
from fdrl_jax.priors import Gaussian, HostGaussian, LowRankGaussian, fit_low_rank, place, prior_distance
from fdrl_jax.priors.cholesky import cholesky_in_place
from fdrl_jax.priors.streaming_covariance import moments
from fdrl_jax.utils import rng
from fdrl_jax.utils.pixel_scaling import to_float

JITTER = 1e-4
LARGEST_DISTANCE = 3072  # most values for which the Wasserstein-2 distance is computed
CHECKED = 512  # rows and columns of the covariance that are compared with float64
GIB = 2**30


class Memory:
    """The peaks of this process's memory.

    The anonymous part is read from /proc every 0.05 s by a thread, from the construction of this object.
    """

    def __init__(self) -> None:
        self._anonymous = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        status = pathlib.Path("/proc/self/status")
        while status.exists():
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            self._anonymous = max(self._anonymous, int(lines["RssAnon"].split()[0]) * 1024)
            time.sleep(0.05)

    def peaks(self) -> dict[str, float]:
        """Return the peaks so far, in GiB."""
        return {  # ru_maxrss is in KiB on Linux.
            "resident_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB,
            "anonymous_gib": self._anonymous / GIB,
        }


def exact(images: np.ndarray, folder: pathlib.Path, progress: bool) -> dict[str, Any]:
    """Time the steps of `priors.fit_gaussian` one by one, and check their accuracy."""
    memory, d = Memory(), math.prod(images.shape[1:])
    start = time.perf_counter()
    mean, factor = moments(images, progress=progress)
    pass_s = time.perf_counter() - start
    chosen = np.sort(np.random.default_rng(0).choice(d, min(CHECKED, d), replace=False))
    covariance = factor[np.ix_(chosen, chosen)].astype(np.float64)
    factor[np.diag_indices(d)] += JITTER
    start = time.perf_counter()
    cholesky_in_place(factor, progress=progress)
    cholesky_s = time.perf_counter() - start
    peaks = memory.peaks()

    lower = np.tril(covariance)
    reference = np.zeros_like(lower)
    for block in np.array_split(np.arange(len(images)), max(1, len(images) // 256)):
        x = to_float(images[block[0] : block[-1] + 1]).reshape(len(block), d)[:, chosen] - mean[chosen]
        reference += x.T @ x
    rows = factor[chosen].astype(np.float64)
    product = np.tril(rows @ rows.T)

    prior = Gaussian(mean.reshape(images.shape[1:]).astype(np.float32), factor)
    placed = place(prior, jax.local_devices()[:1])
    keys = rng.per_sample(jax.random.key(0), 64)
    sample = jax.jit(lambda prior, keys: prior.sample(keys))
    for _ in range(2):  # The first draw compiles.
        start = time.perf_counter()
        jax.block_until_ready(placed.draw(keys) if isinstance(placed, HostGaussian) else sample(placed, keys))
        draw_s = time.perf_counter() - start
    after = memory.peaks()
    file = folder / "exact.npz"
    np.savez(file, mean=prior.mean, factor=prior.factor)
    n = len(images)
    return {
        "pass_s": pass_s,
        "pass_gflops": n * d**2 / pass_s / 1e9,
        "cholesky_s": cholesky_s,
        "cholesky_gflops": d**3 / 3 / cholesky_s / 1e9,
        **peaks,
        "covariance_error": relative(lower, np.tril(reference) / n),
        "factor_error": relative(product, lower + JITTER * np.eye(len(chosen))),
        "smallest_pivot": float(factor.diagonal().min() ** 2),
        "draw_64_s": draw_s,
        "resident_with_draws_gib": after["resident_gib"],
        "file_gib": file.stat().st_size / GIB,
    }


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the relative error in the Frobenius norm."""
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def low_rank(images: np.ndarray, folder: pathlib.Path, progress: bool, rank: int) -> dict[str, Any]:
    """Time the fit of a prior of low rank."""
    memory = Memory()
    start = time.perf_counter()
    prior = fit_low_rank(images, rank, JITTER, progress=progress)
    fit_s = time.perf_counter() - start
    peaks = memory.peaks()
    file = folder / "low-rank.npz"
    np.savez(file, mean=prior.mean, basis=prior.basis, residual=prior.residual)
    return {
        "rank": rank,
        "fit_s": fit_s,
        **peaks,
        "variance_kept": prior.variance_kept(),
        "file_gib": file.stat().st_size / GIB,
    }


def distance(folder: pathlib.Path) -> dict[str, Any]:
    """Compute the Wasserstein-2 distance of the two priors in `folder`."""
    start = time.perf_counter()
    with np.load(folder / "exact.npz") as a, np.load(folder / "low-rank.npz") as b:
        first, second = Gaussian(**a), LowRankGaussian(**b)
    total = float(np.square(first.factor, dtype=np.float64).sum())
    w2 = prior_distance(first, second)
    return {"w2": w2, "root_total_variance": math.sqrt(total), "s": time.perf_counter() - start}


def run_part(part: str, folder: pathlib.Path, images: pathlib.Path, rank: int) -> dict[str, Any]:
    """Run a part ("exact", "low-rank" or "distance") in a new process and return its figures."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.prior",
        f"--part={part}",
        f"--folder={folder}",
        f"--images={images}",
    ]
    done = subprocess.run([*command, f"--rank={rank}"], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def child(options: argparse.Namespace) -> dict[str, Any]:
    """Run a part in the process that `run_part` started."""
    if options.part == "distance":
        return distance(options.folder)
    images, progress = np.load(options.images, mmap_mode="r"), sys.stderr.isatty()
    if options.part == "exact":
        return exact(images, options.folder, progress)
    return low_rank(images, options.folder, progress, options.rank)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--rank", type=int, default=1024, help="rank of the prior of low rank")
    parser.add_argument("--count", type=int, default=8000, help="number of synthetic images")
    parser.add_argument("--images", default="synthetic", help="synthetic, a folder of PNG or JPEG, or uint8 in a .npy")
    parser.add_argument("--methods", default="exact,low-rank", help="methods, separated by commas")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures here, as JSON")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part:
        print(json.dumps(child(options)))
        return
    print(describe())
    methods = options.methods.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder, images = pathlib.Path(name), pathlib.Path(options.images)
        if options.images == "synthetic":
            images = folder / "images.npy"
            write_synthetic(images, options.count, options.size)
        elif images.suffix != ".npy":
            images = folder / "images.npy"
            write_pictures(images, pathlib.Path(options.images), options.size)
        shape = np.load(images, mmap_mode="r").shape
        d = math.prod(shape[1:])
        print(f"{shape[0]} images of {' x '.join(map(str, shape[1:]))} = {d} values ({options.images})")
        figures: dict[str, Any] = {"environment": describe(), "images": options.images, "shape": shape}
        for method in methods:
            report(method, run_part(method, folder, images, options.rank), figures)
        if len(methods) > 1 and d <= LARGEST_DISTANCE:
            report("distance", run_part("distance", folder, images, options.rank), figures)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


def report(part: str, values: dict[str, Any], figures: dict[str, Any]) -> None:
    """Print the figures of a part and add them to `figures`."""
    figures[part] = values
    load = os.getloadavg()[0]
    print(f"{part}: " + ", ".join(f"{k} {v:.4g}" for k, v in values.items()) + f" (load {load:.1f})", flush=True)


if __name__ == "__main__":
    main()
