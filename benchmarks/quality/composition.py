"""Samples from compositions of density ratios, with one model trained on 8x8 digits.

    python -m benchmarks.quality.composition [--runs=FOLDER] [--out=FOLDER]

Trains what is not in --runs yet, in the same folders as `benchmarks.quality.class_conditional`: a model with LR-KL on
all digits but every sixth, and the robust classifier of configs/classifier.py. Then samples with the same seed from

    product   class y with much or little ink: the classifier times a hand-written one of the mean of an image
    quotient  all classes but ones: the ratio divided by a power of p(not 1 | x)
    masked    digits whose upper half is given: the flow fills in the lower half of held-out digits

Prints the share of samples that an SVC, trained on real digits, assigns to the requested class. For lower halves it
prints the RMSE to the true ones (of values in [-1, 1]), and for comparison that of the training image whose upper half
is nearest. With --out, draws composition.png (pairs of rows: classes 0 to 9 with little ink, above the same with much)
and inpainting.png (rows: held-out digits; their given half; three completions).
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
from benchmarks.common.cases import fdrl
from benchmarks.common.environment import describe
from benchmarks.quality.class_conditional import model_config
from configs import classifier
from fdrl_jax import compose, data, flow
from fdrl_jax.evaluation.metrics import precision_recall
from fdrl_jax.experiment import builders
from fdrl_jax.priors import Gaussian, condition
from fdrl_jax.training.classifier import train_classifier
from fdrl_jax.training.loop import train
from fdrl_jax.types import Particles, RatioFn
from fdrl_jax.utils import plotting, rng
from fdrl_jax.utils.pixel_scaling import to_float
from fdrl_jax.utils.plotting import save_picture

SAMPLES = 500
SCALE = 0.15  # phi of the digit's class
# phi of the classifier of ink, and slope and centre of its logit. The mean of a digit is -0.39 +- 0.09 (standard
# deviation).
INK_SCALE, INK_SLOPE, INK_MEAN = 0.05, 60.0, -0.39
AVOIDED, AVOIDED_SCALE = 1, 0.15  # class that the quotient avoids, and its phi
COMPLETIONS = 3


@dataclasses.dataclass(frozen=True)
class Setting:
    """The parts that all three compositions use.

    Attributes:
      model: the FDRL model.
      prior: the prior of the model.
      digit_log_probs: log p(class | image) by the robust classifier, [batch, 10].
      real: real digits in [-1, 1].
      judge: an SVC trained on `real`.
    """

    model: fdrl_jax.Model
    prior: Gaussian
    digit_log_probs: compose.LogProbFn
    real: np.ndarray
    judge: SVC

    @property
    def ratio_fn(self) -> RatioFn:
        """The ratio function of the model, before any composition."""
        return fdrl(self.model.experiment).recipe.dynamics(self.model.params)["ratio_fn"]

    def simulate(
        self, ratio_fn: RatioFn, seed: int, count: int, start_from: Callable[[Particles], Particles] = lambda x: x
    ) -> np.ndarray:
        """Sample from the model with another ratio function.

        Args:
          ratio_fn: the composed ratio.
          seed: seed of the prior's draws and of the noise.
          count: number of samples.
          start_from: applied to the draws from the prior.

        Returns:
          Images in [-1, 1], [count, 8, 8, 1].
        """
        experiment = self.model.experiment
        dynamics = fdrl(experiment).recipe.dynamics(self.model.params)
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


def prepare(runs: pathlib.Path) -> Setting:
    """Train or load the model and the classifiers."""
    model = train(model_config("digits", ""), runs / "digits", progress=False)
    train_classifier(classifier.get_config("digits"), runs / "digits-robust", progress=False)
    digit = fdrl_jax.load_classifier(runs / "digits-robust")
    real = to_float(data.digits().examples)
    judge = SVC().fit(flat(real), data.digits_labels())
    assert isinstance(model.prior, Gaussian)
    return Setting(model, model.prior, lambda x: jax.nn.log_softmax(digit(x)), real, judge)


def ink_log_probs(x: jax.Array) -> jax.Array:
    """Return log p(little ink | x) and log p(much ink | x), [batch, 2]."""
    logit = INK_SLOPE * (x.mean(axis=(1, 2, 3)) - INK_MEAN)
    return jax.nn.log_softmax(jnp.stack([-logit, logit], axis=1) / 2)


def product(setting: Setting) -> list[np.ndarray]:
    """Sample digits of given classes with little and with much ink; return 50 samples of each."""
    print(f"product: phi {SCALE} for the digit, {INK_SCALE} for the ink; {SAMPLES} samples")
    labels = np.arange(SAMPLES) % 10
    class_ratio = compose.classifier_ratio(setting.digit_log_probs, labels, SCALE)
    pictures = []
    for name, ink_ratios in {
        "no ink asked for": (),
        "little ink": (compose.classifier_ratio(ink_log_probs, 0, INK_SCALE),),
        "much ink": (compose.classifier_ratio(ink_log_probs, 1, INK_SCALE),),
    }.items():
        ratio_fn = compose.product(setting.ratio_fn, class_ratio, *ink_ratios, parameterisation="log_ratio")
        samples = setting.simulate(ratio_fn, 0, SAMPLES)
        right = (setting.classes(samples) == labels).mean()
        much = (samples.mean(axis=(1, 2, 3)) > INK_MEAN).mean()
        precision = setting.precision(samples)
        print(f"  {name}: {right:.1%} in the class, {much:.1%} with much ink, precision {precision:.3f}", flush=True)
        pictures.append(samples[:50])
    return pictures[1:]


def quotient(setting: Setting) -> None:
    """Sample all digits but those of class AVOIDED."""
    print(f"quotient: divided by p(not {AVOIDED} | x) to the power {AVOIDED_SCALE}")

    def other_class_ratio(x: jax.Array) -> jax.Array:
        """Return phi log p(not AVOIDED | x), which has no gradient where an image is clearly of another class."""
        others = jnp.delete(setting.digit_log_probs(x), AVOIDED, axis=1)
        return AVOIDED_SCALE * jax.nn.logsumexp(others, axis=1)

    for name, ratio_fn in {
        "whole": setting.ratio_fn,
        "divided": compose.quotient(setting.ratio_fn, other_class_ratio, parameterisation="log_ratio"),
    }.items():
        samples = setting.simulate(ratio_fn, 0, SAMPLES)
        share, precision = (setting.classes(samples) == AVOIDED).mean(), setting.precision(samples)
        print(f"  {name}: {share:.1%} are of class {AVOIDED}, precision {precision:.3f}", flush=True)


def masked(setting: Setting) -> list[np.ndarray]:
    """Complete the lower halves of held-out digits; return the digits, their given halves, and completions."""
    config = setting.model.experiment.config["data"]
    whole, train_images = (to_float(builders.labelled(config, held_out=held_out)[0]) for held_out in (True, False))
    mask = np.zeros(whole.shape[1:], bool)  # True where a pixel is given
    mask[: len(mask) // 2] = True
    ratio_fn = compose.masked(setting.ratio_fn, whole, mask)

    def start_from(x: Particles) -> Particles:
        return condition(setting.prior, x, jnp.asarray(whole), mask)

    completions = [setting.simulate(ratio_fn, seed, len(whole), start_from) for seed in range(COMPLETIONS)]
    prior = start_from(setting.prior.sample(rng.per_sample(jax.random.key(0), len(whole))))
    nearest = train_images[cdist(whole[:, mask], train_images[:, mask]).argmin(axis=1)]
    print(f"masked: the lower halves of {len(whole)} digits that training did not see")
    for name, filled in {
        "prior given the upper half": np.asarray(prior),
        "flow from there": completions[0],
        "flow from the prior as it is": setting.simulate(ratio_fn, 0, len(whole)),
        "nearest training image": nearest,
    }.items():
        result = np.where(mask, whole, filled)
        rmse = np.sqrt(((result - whole)[:, ~mask] ** 2).mean())
        same, precision = (setting.classes(result) == setting.classes(whole)).mean(), setting.precision(result)
        print(f"  {name}: RMSE {rmse:.3f}, the class of the whole {same:.1%}, precision {precision:.3f}", flush=True)
    return [whole, np.where(mask, whole, -1), *(np.where(mask, whole, filled) for filled in completions)]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=pathlib.Path, default=pathlib.Path("runs/class_conditional"), help="keep the runs here"
    )
    parser.add_argument("--out", type=pathlib.Path, help="draw pictures here")
    options = parser.parse_args(argv)
    print(describe())
    shared = prepare(options.runs)
    by_ink = product(shared)
    quotient(shared)
    halves = masked(shared)
    if options.out:
        chosen = np.arange(0, len(halves[0]), len(halves[0]) // 16)[:16]
        pictures_of_halves = plotting.strips(*(images[chosen] for images in halves), columns=16)
        save_picture(options.out / "inpainting.png", pictures_of_halves)
        save_picture(options.out / "composition.png", plotting.strips(*by_ink, columns=10))


if __name__ == "__main__":
    main()
