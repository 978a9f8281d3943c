"""How near the samples of the 2-D experiments (Fig. 10 of arXiv 2303.03714) come to their data.

    python -m benchmarks.points [--data=swissroll] [--variants=quick-lsif-chi2,...] [--seeds=0,...]
                                [--precision=float32,bf16] [--runs=FOLDER] [--picture=FILE.png]

Prints the sliced Wasserstein-1 distance of 5000 samples to 5000 fresh points, as a multiple of the distance between two
fresh sets of 5000 (mean of 20 pairs); 1 is a perfect sampler. The prior is measured the same way. The picture is of the
first seed.
"""

import argparse
import itertools
import pathlib
import tempfile
import time

import numpy as np

from benchmarks.environment import describe
from configs.points import VARIANTS, points_config
from fdrl_jax import builders, pictures, sampling
from fdrl_jax.evaluation import sliced_wasserstein
from fdrl_jax.observe import save_picture
from fdrl_jax.train import train

NUM_SAMPLES = 5000
# Steps beyond any training, for data that no model has seen.
FRESH = 10**8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="swissroll", choices=["swissroll", "eight_gaussians", "twentyfive_gaussians"])
    parser.add_argument("--variants", default=",".join(v for v in VARIANTS if v.startswith("quick-")))
    parser.add_argument("--seeds", default="0", help="by commas")
    parser.add_argument("--precision", default="float32", help="float32, bf16 or both, by commas")
    parser.add_argument("--runs", type=pathlib.Path, help="keep the training runs here, and go on with those there")
    parser.add_argument("--picture", type=pathlib.Path)
    arguments = parser.parse_args()
    print(describe())
    panels: dict[str, dict[str, np.ndarray]] = {}
    names = itertools.product(
        arguments.variants.split(","), map(int, arguments.seeds.split(",")), arguments.precision.split(",")
    )
    for variant, seed, precision in names:
        config = points_config(arguments.data, variant)
        config.seed, config.precision = seed, precision
        run = "-".join(
            [arguments.data, variant, *[f"seed{seed}"] * (seed > 0), *[precision] * (precision != "float32")]
        )
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as temporary:
            model = train(config, (arguments.runs or pathlib.Path(temporary)) / run, progress=False)
        elapsed = time.perf_counter() - start
        data, samples, distance, prior = measure(model)
        what = f"{arguments.data} {variant:16} seed {seed} {precision:8}"
        print(f"{what} {distance:5.2f}  (prior {prior:.1f}), {elapsed:.0f} s", flush=True)
        panels.setdefault(variant, {"data": data[:2000], "samples": samples[:2000]})
    if arguments.picture:
        save_picture(arguments.picture, pictures.scatter_panels(panels, columns=4))


def measure(model: sampling.Model) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Fresh data, samples, and the distances of the samples and of the prior."""

    def fresh(i: int) -> np.ndarray:
        return builders.dataset(model.experiment).batch(0, FRESH + i, NUM_SAMPLES)

    samples = sampling.sample(model, 0, NUM_SAMPLES, batch_size=NUM_SAMPLES, progress=False)
    prior = sampling.sample(model, 0, NUM_SAMPLES, num_steps=0, progress=False)
    floor = np.mean([sliced_wasserstein(fresh(2 * i), fresh(2 * i + 1)) for i in range(20)])
    distance, start = (
        float(np.mean([sliced_wasserstein(x, fresh(i)) for i in range(20)]) / floor) for x in (samples, prior)
    )
    return fresh(0), samples, distance, start


if __name__ == "__main__":
    main()
