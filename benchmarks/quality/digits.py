"""Quality of the demo: train `configs/digits.py` with several seeds, and measure samples.

    python -m benchmarks.quality.digits [--seeds=0,1,2] [--picture=FILE.png]

For each seed this prints k-nearest-neighbour precision and recall (k = 3, in pixels) of 1024 samples (seed 0) against
all 1797 digits, and the smallest and largest share of a class among the samples, by an SVC trained on the real digits.
Draws from the prior are measured in the same way.
"""

import argparse
import pathlib
import tempfile
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from benchmarks.common.environment import describe
from configs import digits
from fdrl_jax.data import digits as digits_data
from fdrl_jax.evaluation.metrics import precision_recall
from fdrl_jax.inference import sampling
from fdrl_jax.training.loop import train
from fdrl_jax.utils import plotting
from fdrl_jax.utils.pixel_scaling import to_float
from fdrl_jax.utils.plotting import save_picture

NUM_SAMPLES = 1024


def report(label: str, samples: np.ndarray, data: np.ndarray, judge: SVC) -> None:
    """Print precision, recall and the range of class shares of samples."""
    precision, recall = precision_recall(data, samples, k=3)
    shares = np.bincount(judge.predict(samples.reshape(len(samples), -1)), minlength=10) / len(samples)
    print(
        f"{label:8} precision {precision:.3f}  recall {recall:.3f}  "
        f"class shares {shares.min():.1%} to {shares.max():.1%}",
        flush=True,
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="seeds, separated by commas")
    parser.add_argument("--picture", type=pathlib.Path, help="write 100 samples of the first seed here")
    options = parser.parse_args(argv)
    print(describe())
    seeds = [int(seed) for seed in options.seeds.split(",")]
    for seed in seeds:
        config = digits.get_config()
        config.seed = seed
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as workdir:
            model = train(config, workdir, progress=False)
        print(f"seed {seed}: {config.train.num_steps} training steps in {time.perf_counter() - start:.0f} s")
        data = to_float(digits_data().examples)
        judge = SVC().fit(data.reshape(len(data), -1), load_digits().target)
        samples = sampling.sample(model, 0, NUM_SAMPLES, progress=False)
        if seed == seeds[0]:
            report("prior", sampling.sample(model, 0, NUM_SAMPLES, num_steps=0, progress=False), data, judge)
            if options.picture:
                save_picture(options.picture, plotting.image_grid(samples[:100]))
        report("samples", samples, data, judge)


if __name__ == "__main__":
    main()
