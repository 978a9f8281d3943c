"""What composed ratios do to the flow of one trained model, on 8x8 digits.

    python -m benchmarks.composition [--runs=FOLDER] [--out=FOLDER]

Trains what is not in --runs yet, as `benchmarks.class_conditional` does and in the same folders: a model with LR-KL on
all digits but every sixth, and the robust classifier of configs/classifier.py. Then, with the same seed each time:

    product   class y and much ink, class y and little: the classifier times one written by hand, of an image's mean
    quotient  no ones: the ratio divided by a power of p(not 1 | x)
    masked    the upper half of held-out digits is given, and the flow fills in the lower

Prints the share of samples that an SVC, trained on real digits, puts where they were asked to be, and for the lower
halves their RMSE to the true ones (of values in [-1, 1]) beside that of the nearest training image by the upper half.
With --out, draws composition.png (pairs of rows: classes 0 to 9 with little ink, above the same with much) and
inpainting.png (rows: held-out digits; what is given; three completions).
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.distance import cdist
from sklearn.svm import SVC

import fdrl_jax
from benchmarks.class_conditional import model_config
from benchmarks.environment import describe
from configs import classifier
from fdrl_jax import builders, compose, data, flow, pictures, rng
from fdrl_jax.classifiers.train import train_classifier
from fdrl_jax.evaluation import precision_recall
from fdrl_jax.observe import save_picture
from fdrl_jax.pixels import to_float
from fdrl_jax.priors import Gaussian, condition
from fdrl_jax.train import train
from fdrl_jax.types import Particles, RatioFn

SAMPLES = 500
SCALE = 0.15  # phi of the digit's class.
# Of the ink: phi, and the slope of its logit. The means of digits are -0.39 +- 0.09 (standard deviation).
INK_SCALE, INK_SLOPE, INK_MEAN = 0.05, 60.0, -0.39
AVOIDED, AVOIDED_SCALE = 1, 0.15
COMPLETIONS = 3


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the three parts share: a model, log p of a digit's class, real digits and an SVC that judges."""

    model: fdrl_jax.Model
    prior: Gaussian
    digit_log_probs: compose.LogProbFn
    real: np.ndarray
    judge: SVC

    @property
    def of_network(self) -> RatioFn:
        return self.model.experiment.recipe.dynamics(self.model.params)["ratio_fn"]

    def simulate(
        self, ratio_fn: RatioFn, seed: int, count: int, start_from: Callable[[Particles], Particles] = lambda x: x
    ) -> np.ndarray:
        """Samples of the model with another ratio function: the whole of what composition takes."""
        experiment = self.model.experiment
        dynamics = experiment.recipe.dynamics(self.model.params)
        dynamics["ratio_fn"] = ratio_fn

        @jax.jit
        def run() -> jax.Array:
            root = jax.random.key(seed)
            x = start_from(self.prior.sample(rng.per_sample(rng.stream(root, "prior"), count)))
            keys = rng.per_sample(rng.stream(root, "flow"), count)
            return flow.simulate(keys, x, num_steps=experiment.flow_length(), **dynamics)

        return np.clip(run(), -1, 1)

    def classes(self, images: np.ndarray) -> np.ndarray:
        return self.judge.predict(flat(images))

    def precision(self, images: np.ndarray) -> float:
        return precision_recall(self.real, images, k=3).precision


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def setting(runs: pathlib.Path) -> Setting:
    model = train(model_config("digits", ""), runs / "digits", progress=False)
    train_classifier(classifier.get_config("digits"), runs / "digits-robust", progress=False)
    digit = fdrl_jax.load_classifier(runs / "digits-robust")
    real = to_float(data.digits().examples)
    judge = SVC().fit(flat(real), data.digits_labels())
    assert isinstance(model.prior, Gaussian)
    return Setting(model, model.prior, lambda x: jax.nn.log_softmax(digit(x)), real, judge)


def ink_log_probs(x: jax.Array) -> jax.Array:
    """log p(little ink, much ink | x), [batch, 2]."""
    logit = INK_SLOPE * (x.mean(axis=(1, 2, 3)) - INK_MEAN)
    return jax.nn.log_softmax(jnp.stack([-logit, logit], axis=1) / 2)


def product(with_: Setting) -> list[np.ndarray]:
    """Classes with little and much ink; some samples of both."""
    print(f"product: phi {SCALE} for the digit, {INK_SCALE} for the ink; {SAMPLES} samples")
    labels = np.arange(SAMPLES) % 10
    of_class = compose.classifier_ratio(with_.digit_log_probs, labels, SCALE)
    drawn = []
    for name, of_ink in {
        "no ink asked for": (),
        "little ink": (compose.classifier_ratio(ink_log_probs, 0, INK_SCALE),),
        "much ink": (compose.classifier_ratio(ink_log_probs, 1, INK_SCALE),),
    }.items():
        ratio_fn = compose.product(with_.of_network, of_class, *of_ink, parameterisation="log_ratio")
        samples = with_.simulate(ratio_fn, 0, SAMPLES)
        right = (with_.classes(samples) == labels).mean()
        much = (samples.mean(axis=(1, 2, 3)) > INK_MEAN).mean()
        precision = with_.precision(samples)
        print(f"  {name}: {right:.1%} in the class, {much:.1%} with much ink, precision {precision:.3f}", flush=True)
        drawn.append(samples[:50])
    return drawn[1:]


def quotient(with_: Setting) -> None:
    print(f"quotient: divided by p(not {AVOIDED} | x) to the power {AVOIDED_SCALE}")

    def of_others(x: jax.Array) -> jax.Array:
        """phi log p(not AVOIDED | x): flat where an image is none anyway."""
        others = jnp.delete(with_.digit_log_probs(x), AVOIDED, axis=1)
        return AVOIDED_SCALE * jax.nn.logsumexp(others, axis=1)

    for name, ratio_fn in {
        "whole": with_.of_network,
        "divided": compose.quotient(with_.of_network, of_others, parameterisation="log_ratio"),
    }.items():
        samples = with_.simulate(ratio_fn, 0, SAMPLES)
        share, precision = (with_.classes(samples) == AVOIDED).mean(), with_.precision(samples)
        print(f"  {name}: {share:.1%} are of class {AVOIDED}, precision {precision:.3f}", flush=True)


def masked(with_: Setting) -> list[np.ndarray]:
    """Held-out digits, what is given of them, and completions."""
    config = with_.model.experiment.config["data"]
    whole, seen = (to_float(builders.labelled(config, held_out=held_out)[0]) for held_out in (True, False))
    mask = np.zeros(whole.shape[1:], bool)
    mask[: len(mask) // 2] = True
    held = compose.masked(with_.of_network, whole, mask)

    def start_from(x: Particles) -> Particles:
        return condition(with_.prior, x, jnp.asarray(whole), mask)

    completions = [with_.simulate(held, seed, len(whole), start_from) for seed in range(COMPLETIONS)]
    prior = start_from(with_.prior.sample(rng.per_sample(jax.random.key(0), len(whole))))
    nearest = seen[cdist(whole[:, mask], seen[:, mask]).argmin(axis=1)]
    print(f"masked: the lower halves of {len(whole)} digits that training did not see")
    for name, filled in {
        "prior given the upper half": np.asarray(prior),
        "flow from there": completions[0],
        "flow from the prior as it is": with_.simulate(held, 0, len(whole)),
        "nearest training image": nearest,
    }.items():
        result = np.where(mask, whole, filled)
        rmse = np.sqrt(((result - whole)[:, ~mask] ** 2).mean())
        same, precision = (with_.classes(result) == with_.classes(whole)).mean(), with_.precision(result)
        print(f"  {name}: RMSE {rmse:.3f}, the class of the whole {same:.1%}, precision {precision:.3f}", flush=True)
    return [whole, np.where(mask, whole, -1), *(np.where(mask, whole, filled) for filled in completions)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/class_conditional"))
    parser.add_argument("--out", type=pathlib.Path, help="draw pictures here")
    arguments = parser.parse_args()
    print(describe())
    with_ = setting(arguments.runs)
    by_ink = product(with_)
    quotient(with_)
    halves = masked(with_)
    if arguments.out:
        chosen = np.arange(0, len(halves[0]), len(halves[0]) // 16)[:16]
        pictures_of_halves = pictures.strips(*(images[chosen] for images in halves), columns=16)
        save_picture(arguments.out / "inpainting.png", pictures_of_halves)
        save_picture(arguments.out / "composition.png", pictures.strips(*by_ink, columns=10))


if __name__ == "__main__":
    main()
