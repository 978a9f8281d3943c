"""How good the demo is: `configs/digits.py` trained with several seeds, and its samples measured.

    python -m benchmarks.digits [--seeds=0,1,2] [--picture=FILE.png]

For each seed: 1024 samples (seed 0) against all 1797 digits in pixel space, k-nearest-neighbour precision and recall
with k = 3, and the smallest and largest share of a digit class among the samples, as an SVC trained on the real digits
sees them. The prior's own draws are measured the same way.
"""

import argparse
import pathlib
import tempfile
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from benchmarks.environment import describe
from configs import digits
from fdrl_jax import pictures, sampling
from fdrl_jax.data import digits as digits_data
from fdrl_jax.evaluation import precision_recall
from fdrl_jax.observe import save_picture
from fdrl_jax.pixels import to_float
from fdrl_jax.train import train

NUM_SAMPLES = 1024


def report(label: str, samples: np.ndarray, data: np.ndarray, judge: SVC) -> None:
    precision, recall = precision_recall(data, samples, k=3)
    shares = np.bincount(judge.predict(samples.reshape(len(samples), -1)), minlength=10) / len(samples)
    print(
        f"{label:8} precision {precision:.3f}  recall {recall:.3f}  "
        f"class shares {shares.min():.1%} to {shares.max():.1%}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--picture", type=pathlib.Path, help="write 100 samples of the first seed here")
    arguments = parser.parse_args()
    print(describe())
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
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
            if arguments.picture:
                save_picture(arguments.picture, pictures.image_grid(samples[:100]))
        report("samples", samples, data, judge)


if __name__ == "__main__":
    main()
