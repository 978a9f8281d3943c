"""Quality of Fashion-MNIST images from the small network of `configs/fashion_mnist.py:cpu`.

    python -m benchmarks.quality.fashion [--path=FOLDER] [--run=FOLDER] [--out=FOLDER]

Trains, or uses or continues the run in --run, and prints k-NN precision and recall (k = 3, in pixels) of 2,000 samples
against 2,000 training images; for comparison also those of 2,000 draws from the prior and of 2,000 test images. With
--out, draws `fashion.png`, 100 samples, and `fashion_flow.png`, ten of them on their way from the prior.
"""

import argparse
import json
import pathlib
import tempfile
import time

import numpy as np

from benchmarks.common.environment import describe
from configs import fashion_mnist
from fdrl_jax.evaluation.metrics import precision_recall
from fdrl_jax.experiment import builders
from fdrl_jax.inference import sampling
from fdrl_jax.training.loop import train
from fdrl_jax.utils import plotting
from fdrl_jax.utils.pixel_scaling import to_float
from fdrl_jax.utils.plotting import save_picture

NUM_SAMPLES = 2000


def report(label: str, samples: np.ndarray, data: np.ndarray) -> None:
    """Print precision and recall of samples."""
    precision, recall = precision_recall(data, samples, k=3)
    print(f"{label:12} precision {precision:.3f}, recall {recall:.3f}", flush=True)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", default="/usr/share/datasets/fashion-mnist", help="the IDX files")
    parser.add_argument("--run", type=pathlib.Path, help="keep the run here")
    parser.add_argument("--out", type=pathlib.Path, help="draw pictures here")
    options = parser.parse_args(argv)
    print(describe())
    config = fashion_mnist.get_config("cpu")
    config.data.path = options.path
    with tempfile.TemporaryDirectory() as temporary:
        run = options.run or pathlib.Path(temporary)
        start = time.perf_counter()
        model = train(config, run, progress=False)
        print(f"trained to step {model.step}; this call took {time.perf_counter() - start:.0f} s")
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        print(f"last line of its metrics: {last}")
    images = {}
    for split in ("train", "test"):
        config.data.split = split
        dataset = builders.dataset(builders.build(config), progress=False)
        images[split] = to_float(dataset.batch(0, 0, NUM_SAMPLES))
    samples = sampling.sample(model, 0, NUM_SAMPLES, progress=False)
    report("samples", samples, images["train"])
    report("prior", sampling.sample(model, 0, NUM_SAMPLES, num_steps=0, progress=False), images["train"])
    report("test images", images["test"], images["train"])
    if options.out:
        save_picture(options.out / "fashion.png", plotting.image_grid(samples[:100]))
        times, states = sampling.trajectory(model, 0, 10, every=2, progress=False)
        save_picture(options.out / "fashion_flow.png", plotting.flow_picture(times, states))


if __name__ == "__main__":
    main()
