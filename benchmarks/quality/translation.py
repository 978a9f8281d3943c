"""Translation of sneakers to ankle boots by `configs/fashion_translation.py`: success, quality and fidelity.

    python -m benchmarks.quality.translation [--path=FOLDER] [--run=FOLDER] [--out=FOLDER]

Trains, or uses or continues the run in --run, and translates the 1,000 sneakers of the test split. For the results and
for the sneakers themselves, prints the share that a classifier (5 nearest neighbours in pixels among 20,000 training
images of all ten classes) takes for boots, and k-NN precision and recall (k = 3, in pixels) against the 1,000 boots of
the test split. Also prints the low-frequency RMSE between outputs and their inputs, and for comparison that between
outputs and inputs paired at random. With --out, draws `translation.png`, inputs over outputs, and
`translation_flow.png`, eight of them during the flow.
"""

import argparse
import pathlib
import tempfile
import time

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.common.environment import describe
from configs import fashion_translation as config_file
from fdrl_jax import data
from fdrl_jax.evaluation import metrics
from fdrl_jax.inference import translation
from fdrl_jax.training.loop import train
from fdrl_jax.utils import plotting
from fdrl_jax.utils.pixel_scaling import to_float, to_uint8
from fdrl_jax.utils.plotting import save_picture


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", default="/usr/share/datasets/fashion-mnist", help="the IDX files")
    parser.add_argument("--run", type=pathlib.Path, help="keep the run here")
    parser.add_argument("--out", type=pathlib.Path, help="draw pictures here")
    options = parser.parse_args(argv)
    print(describe())
    config = config_file.get_config()
    config.data.path = config.prior.path = options.path
    with tempfile.TemporaryDirectory() as temporary:
        config.data.cache = str(pathlib.Path(temporary) / "cache")
        start = time.perf_counter()
        model = train(config, options.run or pathlib.Path(temporary) / "run", progress=False)
        print(f"{model.step} training steps, of which those made now took {time.perf_counter() - start:.0f} s")

    train_split, test = data.readers.idx(options.path, "train"), data.readers.idx(options.path, "test")
    assert train_split.labels is not None
    assert test.labels is not None
    judge = KNeighborsClassifier(5).fit(train_split.images[:20_000].reshape(20_000, -1), train_split.labels[:20_000])
    sneakers, boots = (test.images[test.labels == label] for label in (config_file.SNEAKER, config_file.BOOT))
    outputs = translation.translate(model, sneakers, 0, progress=False)
    for name, images in (("sneakers", sneakers), ("translated", to_uint8(outputs)), ("boots", boots)):
        share = np.mean(judge.predict(images.reshape(len(images), -1)) == config_file.BOOT)
        line = f"{name:10} taken for boots {share:.1%}"
        if images is not boots:
            precision, recall = metrics.precision_recall(boots, images, k=3)
            line += f"; against boots precision {precision:.3f}, recall {recall:.3f}"
        print(line)
    for name, value in translation.fidelity(sneakers, outputs).items():
        low, high = value.own_interval
        print(f"{name} {value.own:.3f} ({low:.3f} to {high:.3f}); paired at random {value.other:.3f}")
    if options.out:
        inputs = to_float(sneakers[:36])
        save_picture(options.out / "translation.png", plotting.strips(inputs, outputs[:36]))
        times, states = translation.trajectory(model, sneakers[:8], 0, every=2, progress=False)
        save_picture(options.out / "translation_flow.png", plotting.flow_picture(times, states))


if __name__ == "__main__":
    main()
