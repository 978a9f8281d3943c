"""Distance of the samples of the 2-D experiments (Fig. 10 of arXiv 2303.03714) to their data.

    python -m benchmarks.quality.points [--data=swissroll] [--variants=quick-lsif-chi2,...] [--seeds=0,...]
                                        [--precision=float32,bf16] [--runs=FOLDER] [--picture=FILE.png]

Prints the sliced Wasserstein-1 distance of 5000 samples to 5000 new points of the data, as a multiple of the distance
between two sets of 5000 new points (both are means of 20); a perfect sampler has 1. The prior is measured in the same
way. The picture shows the first seed.
"""

import argparse
import itertools
import pathlib
import tempfile
import time

import numpy as np

from benchmarks.common.environment import describe
from configs.points import VARIANTS, points_config
from fdrl_jax.evaluation.metrics import sliced_wasserstein
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import Model
from fdrl_jax.inference import sampling
from fdrl_jax.training.loop import train
from fdrl_jax.utils import plotting
from fdrl_jax.utils.plotting import save_picture

NUM_SAMPLES = 5000
# Batches of training steps beyond this one are new data: no model was trained for so long.
NEW = 10**8


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="swissroll", choices=["swissroll", "eight_gaussians", "twentyfive_gaussians"])
    parser.add_argument("--variants", default=",".join(v for v in VARIANTS if v.startswith("quick-")))
    parser.add_argument("--seeds", default="0", help="seeds, separated by commas")
    parser.add_argument("--precision", default="float32", help="float32, bf16 or both, separated by commas")
    parser.add_argument("--runs", type=pathlib.Path, help="keep the runs here, and continue those that are there")
    parser.add_argument("--picture", type=pathlib.Path, help="draw data and samples to this file")
    options = parser.parse_args(argv)
    print(describe())
    panels: dict[str, dict[str, np.ndarray]] = {}
    runs = itertools.product(
        options.variants.split(","), map(int, options.seeds.split(",")), options.precision.split(",")
    )
    for variant, seed, precision in runs:
        config = points_config(options.data, variant)
        config.seed, config.precision = seed, precision
        run = "-".join([options.data, variant, *[f"seed{seed}"] * (seed > 0), *[precision] * (precision != "float32")])
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as temporary:
            model = train(config, (options.runs or pathlib.Path(temporary)) / run, progress=False)
        elapsed = time.perf_counter() - start
        data, samples, distance, prior = measure(model)
        label = f"{options.data} {variant:16} seed {seed} {precision:8}"
        print(f"{label} {distance:5.2f}  (prior {prior:.1f}), {elapsed:.0f} s", flush=True)
        panels.setdefault(variant, {"data": data[:2000], "samples": samples[:2000]})
    if options.picture:
        save_picture(options.picture, plotting.scatter_panels(panels, columns=4))


def measure(model: Model) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return new data, samples, and the distances of the samples and of the prior as multiples of the floor."""

    def fresh(i: int) -> np.ndarray:
        return builders.dataset(model.experiment).batch(0, NEW + i, NUM_SAMPLES)

    samples = sampling.sample(model, 0, NUM_SAMPLES, batch_size=NUM_SAMPLES, progress=False)
    prior = sampling.sample(model, 0, NUM_SAMPLES, num_steps=0, progress=False)
    floor = np.mean([sliced_wasserstein(fresh(2 * i), fresh(2 * i + 1)) for i in range(20)])
    distance, start = (
        float(np.mean([sliced_wasserstein(x, fresh(i)) for i in range(20)]) / floor) for x in (samples, prior)
    )
    return fresh(0), samples, distance, start


if __name__ == "__main__":
    main()
