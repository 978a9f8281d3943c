"""Samples of a class (section 4.4 and Fig. 6 of the paper), with a robust classifier and with a plain one.

    python -m benchmarks.class_conditional [--data=digits] [--runs=FOLDER] [--out=FOLDER]
    python -m benchmarks.class_conditional --data=fashion_mnist --path=/usr/share/datasets/fashion-mnist

Trains what is not in --runs yet: an FDRL model with LR-KL, the paper's pairing here (digits; Fashion-MNIST's `cpu`
variant), and both classifiers of configs/classifier.py. For some scales phi, from the prior's draw as in the paper and
from the likeliest of 64 draws (`candidates`), it prints the share of samples that an SVC, which was trained on real
images and has no part in sampling, puts into the class asked for, of all samples and of the worst class, and k-NN
precision and recall (k = 3, in pixels).

With --out, draws NAME_classes.png (a row a class; the robust classifier), NAME_classes_plain.png, NAME_classes_64.png
(the robust one and candidates), all at the best phi of the first, and class_conditional_NAME.png (phi against both).
"""

import argparse
import itertools
import pathlib
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from ml_collections import ConfigDict
from sklearn.svm import SVC

import fdrl_jax
from benchmarks.environment import describe
from configs import classifier, digits, fashion_mnist
from fdrl_jax import builders, data, pictures
from fdrl_jax.classifiers.train import train_classifier
from fdrl_jax.evaluation import precision_recall
from fdrl_jax.observe import save_picture
from fdrl_jax.pixels import to_float
from fdrl_jax.train import train

# phi: the paper's is 0.1.
SCALES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
CANDIDATES = (1, 64)

# The share of samples in their class that counts as enough, and how much precision may be lost for it.
ACCURACY, LOSS = 0.9, 0.05

# Training images of clothes that the judge learns from: with a third of them it takes more shirts for other things.
JUDGED = 12_000

Row = dict[str, Any]


def model_config(name: str, path: str) -> ConfigDict:
    if name == "digits":
        config = digits.get_config()
        config.loss, config.divergence = "lr", "kl"
        return config
    config = fashion_mnist.get_config("cpu")
    config.data.path = path
    return config


def reference(name: str, config: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """Real images in [-1, 1] and their classes: all digits, or some training images of clothes."""
    if name == "digits":
        return to_float(data.digits().examples), data.digits_labels()
    images, labels = builders.labelled(builders.normalise(config)["data"], progress=False)
    chosen = np.sort(np.random.default_rng(0).permutation(len(images))[:JUDGED])
    return to_float(images[chosen]), labels[chosen]


def measure(samples: np.ndarray, labels: np.ndarray, real: np.ndarray, judge: SVC) -> Row:
    right = judge.predict(samples.reshape(len(samples), -1)) == labels
    by_class = [float(right[labels == label].mean()) for label in np.unique(labels)]
    precision, recall = precision_recall(real[:2000], samples, k=3)
    return {"accuracy": float(right.mean()), "worst": min(by_class), "precision": precision, "recall": recall}


def line(name: str, row: Row) -> str:
    return name.ljust(24) + "  ".join(f"{key} {value:.3f}" for key, value in row.items())


def draw(name: str, curves: dict[str, list[Row]], plain: float, out: pathlib.Path) -> None:
    figure = Figure(figsize=(9, 4.6), dpi=100, layout="constrained")
    axes = figure.subplots(1, 2)
    for label, rows in curves.items():
        scales = [row["scale"] for row in rows]
        (drawn,) = axes[0].plot(scales, [row["accuracy"] for row in rows], marker="o", label=f"{label}, all classes")
        worst = [row["worst"] for row in rows]
        axes[0].plot(scales, worst, marker=".", linestyle=":", color=drawn.get_color(), label=f"{label}, worst class")
        axes[1].plot(scales, [row["precision"] for row in rows], marker="o", label=label)
    axes[0].axhline(ACCURACY, color="grey", linewidth=0.8)
    axes[1].axhline(plain, color="black", linewidth=0.8, label="without a class")
    axes[1].axhline(plain - LOSS, color="grey", linewidth=0.8)
    for axis, title in zip(axes, ("share of samples in the class", "k-NN precision"), strict=True):
        axis.set(xlabel="phi", title=title, ylim=(0, 1.02), xscale="log")
        axis.set_xticks(SCALES, [f"{scale:g}" for scale in SCALES])
        axis.minorticks_off()
    handles = [*axes[0].lines[:-1], axes[1].lines[-2]]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize="small")
    save_picture(out / f"class_conditional_{name}.png", pictures.render(figure))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("digits", "fashion_mnist"), default="digits")
    parser.add_argument("--path", default="data/fashion_mnist", help="the IDX files")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/class_conditional"))
    parser.add_argument("--num_samples", type=int, default=1000)
    parser.add_argument("--out", type=pathlib.Path, help="draw pictures here")
    arguments = parser.parse_args()
    name = arguments.data
    print(describe())
    config = model_config(name, arguments.path)
    model = train(config, arguments.runs / name, progress=False)
    known = {}
    for kind in ("robust", "plain"):
        settings = classifier.get_config(name if kind == "robust" else f"{name}-plain")
        if name != "digits":
            settings.data.path = arguments.path
        workdir = arguments.runs / f"{name}-{kind}"
        print(f"{kind} classifier: {train_classifier(settings, workdir, progress=False)}", flush=True)
        known[kind] = fdrl_jax.load_classifier(workdir)

    real, classes = reference(name, config)
    judge = SVC().fit(real.reshape(len(real), -1), classes)
    if name != "digits":  # It has seen all of those.
        unseen, truth = builders.labelled(builders.normalise(config)["data"], held_out=True, progress=False)
        right = judge.predict(to_float(unseen[:2000]).reshape(2000, -1)) == truth[:2000]
        worst = min(right[truth[:2000] == label].mean() for label in range(10))
        print(
            f"the judge gets {right.mean():.1%} of 2,000 test images right, {worst:.1%} of the worst class", flush=True
        )
    labels = np.arange(arguments.num_samples) % 10
    samples = fdrl_jax.sample(model, 0, arguments.num_samples, progress=False)
    plain = measure(samples, labels, real, judge)
    print(line("without a class", plain), flush=True)
    curves: dict[str, list[Row]] = {}
    grids = {}
    for kind, candidates, scale in itertools.product(known, CANDIDATES, SCALES):
        curve = f"{kind}, {candidates} candidates" if candidates > 1 else kind
        how: dict[str, Any] = {"label": labels, "classifier": known[kind], "scale": scale, "candidates": candidates}
        try:
            samples = fdrl_jax.sample(model, 0, len(labels), progress=False, **how)
        except fdrl_jax.InputError as error:
            print(f"{curve}, phi {scale:g}: {error}", flush=True)
            continue
        row = {"scale": scale, **measure(samples, labels, real, judge)}
        curves.setdefault(curve, []).append(row)
        print(line(curve, row), flush=True)
        grids[curve, scale] = samples[:100]
    robust = [curve for curve in curves if curve.startswith("robust")]
    for curve in robust:
        good = [row for row in curves[curve] if row["worst"] >= ACCURACY]
        kept = [row["scale"] for row in good if row["precision"] >= plain["precision"] - LOSS]
        print(f"{curve}: phi with {ACCURACY:.0%} of every class: {[row['scale'] for row in good] or 'none'}; ", end="")
        print(f"of them with precision within {LOSS} of {plain['precision']:.3f}: {kept or 'none'}")
    if arguments.out:
        best = max(curves["robust"], key=lambda row: min(row["accuracy"], ACCURACY) + row["precision"])["scale"]
        print(f"the pictures of classes have phi {best:g}")
        shown = {"robust": "", "plain": "_plain", robust[-1]: f"_{CANDIDATES[-1]}"}
        for curve, suffix in shown.items():
            if (curve, best) in grids:
                picture = pictures.class_grid(grids[curve, best], labels[:100])
                save_picture(arguments.out / f"{name}_classes{suffix}.png", picture)
        draw(name, curves, plain["precision"], arguments.out)


if __name__ == "__main__":
    main()
