"""Class-conditional sampling (section 4.4 and Fig. 6 of the paper) with a robust and with a plain classifier.

    python -m benchmarks.quality.class_conditional [--data=digits] [--runs=FOLDER] [--out=FOLDER]
    python -m benchmarks.quality.class_conditional --data=fashion_mnist --path=/usr/share/datasets/fashion-mnist

Trains what is not in --runs yet: an FDRL model with LR-KL, as in the paper (digits, or the `cpu` variant of
Fashion-MNIST), and both classifiers of configs/classifier.py. Samples are made at several scales phi, starting from one
draw from the prior as in the paper, and from the likeliest of 64 draws (`candidates`). An SVC judges them, which was
trained on real images and has no part in sampling. For each phi this prints the share of samples that the SVC assigns
to the requested class, over all samples and for the worst class, and k-NN precision and recall (k = 3, in pixels).

With --out, draws NAME_classes.png (a row for each class; robust classifier), NAME_classes_plain.png (plain classifier)
and NAME_classes_64.png (robust classifier, 64 candidates), all at the best phi of the first, and
class_conditional_NAME.png (both measures by phi).
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
from benchmarks.common.environment import describe
from configs import classifier, digits, fashion_mnist
from fdrl_jax import data
from fdrl_jax.evaluation.metrics import precision_recall
from fdrl_jax.experiment import builders
from fdrl_jax.training.classifier import train_classifier
from fdrl_jax.training.loop import train
from fdrl_jax.utils import plotting
from fdrl_jax.utils.pixel_scaling import to_float
from fdrl_jax.utils.plotting import save_picture

# Values of phi. The paper's is 0.1.
SCALES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
CANDIDATES = (1, 64)

# A phi is good if this share of samples is in the requested class, and no more than this precision is lost.
ACCURACY, LOSS = 0.9, 0.05

# Training images of clothes that the SVC is trained on. With a third of them it misclassifies more shirts.
SVC_IMAGES = 12_000

Row = dict[str, Any]


def model_config(name: str, path: str) -> ConfigDict:
    """Return the config of the FDRL model of a data set; `path` is the folder of Fashion-MNIST's files."""
    if name == "digits":
        config = digits.get_config()
        config.loss, config.divergence = "lr", "kl"
        return config
    config = fashion_mnist.get_config("cpu")
    config.data.path = path
    return config


def reference(name: str, config: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """Return real images in [-1, 1] and their classes: all digits, or SVC_IMAGES training images of clothes."""
    if name == "digits":
        return to_float(data.digits().examples), data.digits_labels()
    images, labels = builders.labelled(builders.normalise(config)["data"], progress=False)
    chosen = np.sort(np.random.default_rng(0).permutation(len(images))[:SVC_IMAGES])
    return to_float(images[chosen]), labels[chosen]


def measure(samples: np.ndarray, labels: np.ndarray, real: np.ndarray, judge: SVC) -> Row:
    """Return the accuracy of samples by `judge`, that of the worst class, and precision and recall."""
    right = judge.predict(samples.reshape(len(samples), -1)) == labels
    by_class = [float(right[labels == label].mean()) for label in np.unique(labels)]
    precision, recall = precision_recall(real[:2000], samples, k=3)
    return {"accuracy": float(right.mean()), "worst": min(by_class), "precision": precision, "recall": recall}


def line(name: str, row: Row) -> str:
    return name.ljust(24) + "  ".join(f"{key} {value:.3f}" for key, value in row.items())


def draw(name: str, curves: dict[str, list[Row]], unconditional: float, out: pathlib.Path) -> None:
    """Draw accuracy and precision by phi; `unconditional` is the precision of samples without a class."""
    figure = Figure(figsize=(9, 4.6), dpi=100, layout="constrained")
    axes = figure.subplots(1, 2)
    for label, rows in curves.items():
        scales = [row["scale"] for row in rows]
        (drawn,) = axes[0].plot(scales, [row["accuracy"] for row in rows], marker="o", label=f"{label}, all classes")
        worst = [row["worst"] for row in rows]
        axes[0].plot(scales, worst, marker=".", linestyle=":", color=drawn.get_color(), label=f"{label}, worst class")
        axes[1].plot(scales, [row["precision"] for row in rows], marker="o", label=label)
    axes[0].axhline(ACCURACY, color="grey", linewidth=0.8)
    axes[1].axhline(unconditional, color="black", linewidth=0.8, label="without a class")
    axes[1].axhline(unconditional - LOSS, color="grey", linewidth=0.8)
    for axis, title in zip(axes, ("share of samples in the class", "k-NN precision"), strict=True):
        axis.set(xlabel="phi", title=title, ylim=(0, 1.02), xscale="log")
        axis.set_xticks(SCALES, [f"{scale:g}" for scale in SCALES])
        axis.minorticks_off()
    handles = [*axes[0].lines[:-1], axes[1].lines[-2]]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize="small")
    save_picture(out / f"class_conditional_{name}.png", plotting.render(figure))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("digits", "fashion_mnist"), default="digits")
    parser.add_argument("--path", default="data/fashion_mnist", help="the IDX files")
    parser.add_argument(
        "--runs", type=pathlib.Path, default=pathlib.Path("runs/class_conditional"), help="keep the runs here"
    )
    parser.add_argument("--num_samples", type=int, default=1000, help="samples at each phi")
    parser.add_argument("--out", type=pathlib.Path, help="draw pictures here")
    options = parser.parse_args(argv)
    name = options.data
    print(describe())
    config = model_config(name, options.path)
    model = train(config, options.runs / name, progress=False)
    classifiers = {}
    for kind in ("robust", "plain"):
        settings = classifier.get_config(name if kind == "robust" else f"{name}-plain")
        if name != "digits":
            settings.data.path = options.path
        workdir = options.runs / f"{name}-{kind}"
        print(f"{kind} classifier: {train_classifier(settings, workdir, progress=False)}", flush=True)
        classifiers[kind] = fdrl_jax.load_classifier(workdir)

    real, classes = reference(name, config)
    judge = SVC().fit(real.reshape(len(real), -1), classes)
    if name != "digits":  # It was trained on all digits, so none is left to test it.
        unseen, truth = builders.labelled(builders.normalise(config)["data"], held_out=True, progress=False)
        right = judge.predict(to_float(unseen[:2000]).reshape(2000, -1)) == truth[:2000]
        worst = min(right[truth[:2000] == label].mean() for label in range(10))
        print(
            f"the judge gets {right.mean():.1%} of 2,000 test images right, {worst:.1%} of the worst class", flush=True
        )
    labels = np.arange(options.num_samples) % 10
    samples = fdrl_jax.sample(model, 0, options.num_samples, progress=False)
    unconditional = measure(samples, labels, real, judge)
    print(line("without a class", unconditional), flush=True)
    curves: dict[str, list[Row]] = {}
    grids = {}
    for kind, candidates, scale in itertools.product(classifiers, CANDIDATES, SCALES):
        curve = f"{kind}, {candidates} candidates" if candidates > 1 else kind
        guidance: dict[str, Any] = {"label": labels, "classifier": classifiers[kind], "scale": scale}
        try:
            samples = fdrl_jax.sample(model, 0, len(labels), progress=False, candidates=candidates, **guidance)
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
        precise = [row["scale"] for row in good if row["precision"] >= unconditional["precision"] - LOSS]
        print(f"{curve}: phi with {ACCURACY:.0%} of every class: {[row['scale'] for row in good] or 'none'}; ", end="")
        print(f"of them with precision within {LOSS} of {unconditional['precision']:.3f}: {precise or 'none'}")
    if options.out:
        best = max(curves["robust"], key=lambda row: min(row["accuracy"], ACCURACY) + row["precision"])["scale"]
        print(f"the pictures of classes have phi {best:g}")
        shown = {"robust": "", "plain": "_plain", robust[-1]: f"_{CANDIDATES[-1]}"}
        for curve, suffix in shown.items():
            if (curve, best) in grids:
                picture = plotting.class_grid(grids[curve, best], labels[:100])
                save_picture(options.out / f"{name}_classes{suffix}.png", picture)
        draw(name, curves, unconditional["precision"], options.out)


if __name__ == "__main__":
    main()
