"""The density chasm: Fig. 2 and 3 of arXiv 2303.03714 from `configs/gaussians.py`.

    python -m benchmarks.quality.gaussians [--seeds=0,1,2] [--out=FOLDER]

Trains the three variants and prints mean and standard deviation of their samples. With --out, draws with the first seed
`fig2.png` (source, target, samples and the path of their mean during the flow, for each variant) and `fig3.png`
(samples of far-fdrl after some training steps, and the path of their mean during training).
"""

import argparse
import pathlib
import tempfile

import numpy as np
from matplotlib.figure import Figure

import fdrl_jax
from benchmarks.common.environment import describe
from configs import gaussians
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import Model
from fdrl_jax.inference import sampling
from fdrl_jax.training.loop import train
from fdrl_jax.utils import plotting
from fdrl_jax.utils.plotting import save_picture

NUM_SAMPLES = 5000
# Training steps after which figure 3 has the mean of samples, and those after which it shows samples.
TRAINING_STEPS = (1, 5, 10, 20, 40, 70, 100, 150, 200, 300, 500, 700, 1000)
SHOWN = (10, 40, 1000)
LIMITS = (-1.5, 8.5)  # of both axes


def clouds(model: Model, samples: np.ndarray, count: int = 1000) -> dict[str, np.ndarray]:
    """Return `count` points each of the target, of the source and of the samples, by the label in the figure."""
    return {
        "target p": builders.dataset(model.experiment).batch(0, 0, count),
        "source q'": sampling.sample(model, 0, count, num_steps=0, progress=False),
        "flowed q~": samples[:count],
    }


def figure_2(seed: int) -> plotting.Picture:
    """Train the three variants, print where their samples end, and draw them."""
    panels, paths = {}, {}
    for variant in gaussians.VARIANTS:
        config = gaussians.get_config(variant)
        config.seed = seed
        with tempfile.TemporaryDirectory() as workdir:
            model = train(config, workdir, progress=False)
        samples = sampling.sample(model, 0, NUM_SAMPLES, progress=False)
        mean, sd = samples.mean(axis=0), samples.std(axis=0)
        print(
            f"seed {seed} {variant:10} target mean {config.data.mean[0]:.0f} sd 0.316: "
            f"mean {mean[0]:.2f}, {mean[1]:.2f}  sd {sd[0]:.2f}, {sd[1]:.2f}",
            flush=True,
        )
        title = f"{variant}, K = {config.flow.num_steps}\nends at ({mean[0]:.1f}, {mean[1]:.1f})"
        panels[title] = clouds(model, samples)
        every = max(1, config.flow.num_steps // 100)
        paths[title] = sampling.trajectory(model, 0, 1000, every, progress=False)[1].mean(axis=1)
    return plotting.scatter_panels(panels, limits=LIMITS, paths=paths)


def figure_3(seed: int) -> plotting.Picture:
    """Train far-fdrl up to each of TRAINING_STEPS and draw its samples.

    The samples are made with the online parameters instead of their moving average, as those in training are.
    """
    config = gaussians.get_config("far-fdrl")
    config.seed = seed
    means, panels = [], {}
    with tempfile.TemporaryDirectory() as workdir:
        for num_steps in TRAINING_STEPS:
            config.train.num_steps = num_steps
            train(config, workdir, progress=False)
            model = fdrl_jax.load(workdir, ema=False)
            samples = sampling.sample(model, 0, NUM_SAMPLES, progress=False)
            means.append(samples.mean(axis=0))
            if num_steps in SHOWN:
                panels[f"{num_steps} training steps"] = clouds(model, samples)
    return plotting.stack(plotting.scatter_panels(panels, limits=LIMITS), _path(np.array(means), config.data.mean))


def _path(means: np.ndarray, target: tuple[float, float]) -> plotting.Picture:
    """Draw the mean of the samples after each of TRAINING_STEPS, and the mean of the target."""
    figure = Figure(figsize=(10.8, 3.6), dpi=100, layout="constrained")
    axis = figure.subplots()
    axis.plot(means[:, 0], means[:, 1], "o-", markersize=4, label="mean of q~")
    for step, mean in zip(TRAINING_STEPS, means, strict=True):
        axis.annotate(str(step), mean, textcoords="offset points", xytext=(4, -10), fontsize="x-small")
    axis.plot(*target, "*", markersize=14, label="mean of p")
    axis.set(title="mean of the flowed samples after so many training steps")
    axis.legend()
    return plotting.render(figure)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="seeds, separated by commas")
    parser.add_argument("--out", type=pathlib.Path, help="draw pictures here")
    options = parser.parse_args(argv)
    print(describe())
    for i, seed in enumerate(map(int, options.seeds.split(","))):
        picture = figure_2(seed)
        if options.out and i == 0:
            save_picture(options.out / "fig2.png", picture)
            save_picture(options.out / "fig3.png", figure_3(seed))


if __name__ == "__main__":
    main()
