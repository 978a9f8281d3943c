"""Time, memory and accuracy of the fitted Gaussian priors at 3x32x32, 3x64x64 and 3x128x128 values.

    python -m benchmarks.prior [--size=32|64|128] [--rank=R] [--images=synthetic|DIR|FILE.npy] [--count=8000]
                               [--methods=exact,low-rank] [--out=FILE.json]

Images are written to a temporary uint8 memory map: smooth random ones (amplitude 1/frequency, as photographs have), or
the pictures of a folder, resized. Each method then runs in a process of its own, so that peaks are separate:

- resident: the most memory of the process (getrusage); anonymous: of it what is not pages of files (Linux only).
- covariance error, factor error: relative Frobenius norm on 512 x 512 entries, of random rows and columns, against the
  covariance in float64 and of L L^T against the float32 covariance that was factored.
- smallest pivot: of the factorisation, whose jitter is 1e-4. Near or below it, rounding has eaten into the jitter.
- draw_64_s: 64 draws, the second time; resident_with_draws_gib shows that they copy no factor.
- share of variance kept, and the Wasserstein-2 distance to the exact Gaussian up to 3072 values, to be compared with
  the root of the exact one's total variance.
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
from PIL import Image

from benchmarks.environment import describe
from fdrl_jax import rng
from fdrl_jax.evaluation import prior_distance
from fdrl_jax.pixels import to_float
from fdrl_jax.priors import Gaussian, HostGaussian, LowRankGaussian, fit_low_rank, place
from fdrl_jax.priors.cholesky import cholesky_in_place
from fdrl_jax.priors.covariance import moments

JITTER = 1e-4
LARGEST_DISTANCE = 3072
CHECKED = 512
GIB = 2**30


def write_images(path: pathlib.Path, source: str, count: int, size: int) -> None:
    if source == "synthetic":
        write_synthetic(path, count, size)
        return
    files = sorted(f for f in pathlib.Path(source).iterdir() if f.suffix.lower() in {".png", ".jpg", ".jpeg"})
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (len(files), size, size, 3))
    for i, file in enumerate(files):
        picture = Image.open(file).convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        resized = Image.alpha_composite(white, picture).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        images[i] = np.asarray(resized)
    images.flush()


def write_synthetic(path: pathlib.Path, count: int, size: int) -> None:
    generator = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    amplitude = 1 / np.maximum(frequency, 1 / size)[None, :, :, None]
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, size, size, 3))
    for start in range(0, count, 64):
        noise = generator.standard_normal((min(64, count - start), size, size, 3), np.float32)
        smooth = np.fft.irfft2(np.fft.rfft2(noise, axes=(1, 2)) * amplitude, s=(size, size), axes=(1, 2))
        smooth /= smooth.std(axis=(1, 2, 3), keepdims=True)
        level = generator.uniform(64, 192, (len(noise), 1, 1, 3))
        images[start : start + len(noise)] = np.clip(level + 48 * smooth, 0, 255)
    images.flush()


class Memory:
    """Peaks of this process from its start, in GiB."""

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
        # ru_maxrss is in KiB on Linux.
        return {
            "resident_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB,
            "anonymous_gib": self._anonymous / GIB,
        }


def exact(images: np.ndarray, folder: pathlib.Path, progress: bool) -> dict[str, Any]:
    """The steps of `priors.fit_gaussian`, timed one by one."""
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
    for _ in range(2):  # The first compiles.
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
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def low_rank(images: np.ndarray, folder: pathlib.Path, progress: bool, rank: int) -> dict[str, Any]:
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
    start = time.perf_counter()
    with np.load(folder / "exact.npz") as a, np.load(folder / "low-rank.npz") as b:
        first, second = Gaussian(**a), LowRankGaussian(**b)
    total = float(np.square(first.factor, dtype=np.float64).sum())
    w2 = prior_distance(first, second)
    return {"w2": w2, "root_total_variance": math.sqrt(total), "s": time.perf_counter() - start}


def run_part(part: str, folder: pathlib.Path, images: pathlib.Path, rank: int) -> dict[str, Any]:
    """`part` in a new process; what it printed."""
    command = [sys.executable, "-m", "benchmarks.prior", f"--part={part}", f"--folder={folder}", f"--images={images}"]
    done = subprocess.run([*command, f"--rank={rank}"], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def child(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.part == "distance":
        return distance(arguments.folder)
    images, progress = np.load(arguments.images, mmap_mode="r"), sys.stderr.isatty()
    if arguments.part == "exact":
        return exact(images, arguments.folder, progress)
    return low_rank(images, arguments.folder, progress, arguments.rank)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--rank", type=int, default=1024)
    parser.add_argument("--count", type=int, default=8000, help="synthetic images")
    parser.add_argument("--images", default="synthetic", help="synthetic, a folder of PNG or JPEG, or uint8 in a .npy")
    parser.add_argument("--methods", default="exact,low-rank")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures here, as JSON")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(child(arguments)))
        return
    print(describe())
    methods = arguments.methods.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder, images = pathlib.Path(name), pathlib.Path(arguments.images)
        if images.suffix != ".npy":
            images = folder / "images.npy"
            write_images(images, arguments.images, arguments.count, arguments.size)
        shape = np.load(images, mmap_mode="r").shape
        d = math.prod(shape[1:])
        print(f"{shape[0]} images of {' x '.join(map(str, shape[1:]))} = {d} values ({arguments.images})")
        figures: dict[str, Any] = {"environment": describe(), "images": arguments.images, "shape": shape}
        for method in methods:
            report(method, run_part(method, folder, images, arguments.rank), figures)
        if len(methods) > 1 and d <= LARGEST_DISTANCE:
            report("distance", run_part("distance", folder, images, arguments.rank), figures)
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


def report(part: str, values: dict[str, Any], figures: dict[str, Any]) -> None:
    figures[part] = values
    load = os.getloadavg()[0]
    print(f"{part}: " + ", ".join(f"{k} {v:.4g}" for k, v in values.items()) + f" (load {load:.1f})", flush=True)


if __name__ == "__main__":
    main()
