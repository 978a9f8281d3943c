"""Class-conditional sampling (section 4.4 of arXiv 2303.03714): labels, --scale (phi) and --candidates.

`compose.class_conditional` has the ratio r(x | y). This module checks what a user asks for, gives each sample its label
in the flow, and chooses the prior draw from which each sample starts.
"""

import dataclasses
import numbers
import pathlib
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int64

from fdrl_jax import compose
from fdrl_jax.experiment import builders
from fdrl_jax.inference.classifiers import Classifier, classifier_from_function, load_classifier
from fdrl_jax.inference.classifiers.base import Logits
from fdrl_jax.types import InputError, Parameterisation, Params, Particles, RatioFn
from fdrl_jax.utils import sharding
from fdrl_jax.utils.compilation import Program
from fdrl_jax.utils.validation import require_integer

# Every form in which `sampling.sample` takes a classifier.
AnyClassifier: TypeAlias = Classifier | Callable[..., Any] | str | pathlib.Path

# The paper's phi.
DEFAULT_SCALE = 0.1

# Bayes' rule has phi = 1 (Eq. 31). A scale far beyond that saturates every pixel without any error.
MAX_SCALE = 1000.0

# Each candidate costs a pass of the classifier, so a larger number must be a typing error.
MAX_CANDIDATES = 2**16


@dataclasses.dataclass(frozen=True)
class _ClassRatio:
    """The `methods.base.RatioTransform` from r(x) to r(x | y). Equal objects compile to the same program."""

    apply: Callable[[Params, Particles], Logits]
    prepare: Callable[[Params], Params]
    parameterisation: Parameterisation

    def __call__(self, ratio_fn: RatioFn, arguments: tuple[Params, Int[Array, " batch"], Float[Array, ""]]) -> RatioFn:
        params, labels, scale = arguments
        params = self.prepare(params)  # Called here, it runs once per flow and not in every step.
        return compose.class_conditional(
            ratio_fn,
            lambda x: jax.nn.log_softmax(self.apply(params, x)),
            labels,
            scale,
            parameterisation=self.parameterisation,
            at_step=False,  # If p is small, the factor p^-phi is large, and the flow of an LSIF network diverges.
        )


@dataclasses.dataclass(frozen=True)
class Condition:
    """The classes of a sampling run; `condition` makes one from checked arguments.

    Attributes:
      classifier: the classifier of the samples.
      labels: class of each sample, int64.
      scale: phi.
      candidates: number of prior draws from which the start of each sample is chosen; see `choose_start`.
    """

    classifier: Classifier
    labels: Int64[np.ndarray, " num_samples"]
    scale: float
    candidates: int = 1

    def flow_arguments(self, parameterisation: Parameterisation, first: int, count: int) -> dict[str, Any]:
        """Return the arguments `transform` and `arguments` of `Method.advance` for samples first, first + 1, ...

        Args:
          parameterisation: output of the ratio's network.
          first: index of the first sample.
          count: number of samples. The last batch is computed whole, so beyond the last sample the labels repeat.
        """
        scale = jnp.asarray(self.scale, jnp.float32)
        arguments = (self.classifier.params, self._labels(first, count), scale)
        return {
            "transform": _ClassRatio(self.classifier.apply, self.classifier.prepare, parameterisation),
            "arguments": arguments,
        }

    def choose_start(self, draw: Callable[[int], Particles], first: int, count: int) -> Particles:
        """Return for samples first, ..., first + count - 1 the candidate that is likeliest to be of the sample's class.

        The flow moves a draw to data that resemble it, so the start half decides the class. Without candidates the
        classifier's gradient alone must drag most samples to their class, against the ratio and off the data. Each
        candidate costs one pass of the classifier. Candidates are not in the paper.

        Args:
          draw: function from the number 0, 1, ... of a candidate to that prior draw of each sample, [count, *event].
          first: index of the first sample.
          count: number of samples.
        """
        x = draw(0)
        if self.candidates == 1:
            return x
        params, labels, score = sharding.replicate(
            (self.classifier.params, self._labels(first, count), jnp.full(count, -jnp.inf))
        )
        for i in range(self.candidates):
            x, score = _likelier(self.classifier.apply, params, labels, draw(i) if i else x, x, score)
        return x

    def _labels(self, first: int, count: int) -> Int[Array, " count"]:
        return jnp.asarray(np.take(self.labels, np.arange(first, first + count), mode="wrap"), jnp.int32)


def _likelier_of_two(
    apply: Any, params: Params, labels: Array, new: Particles, x: Particles, score: Float[Array, " batch"]
) -> tuple[Particles, Float[Array, " batch"]]:
    """Return for each sample the likelier of `new` and `x`, whose log p(label | x) is `score`, and its score."""
    log_probs = jax.nn.log_softmax(apply(params, new))
    new_score = jnp.take_along_axis(log_probs, labels[:, None], axis=1)[:, 0]
    better = new_score > score
    return jnp.where(better.reshape(-1, *(1 for _ in x.shape[1:])), new, x), jnp.maximum(new_score, score)


_likelier = Program(_likelier_of_two, static_argnames=("apply",))


def condition(
    classifier: Any,
    label: Any,
    scale: Any,
    num_samples: int,
    event_shape: tuple[int, ...],
    candidates: Any = 1,
) -> Condition:
    """Check the arguments of class-conditional sampling, and return them as a `Condition`.

    Args:
      classifier: classifier of the samples, in any form that `sampling.sample` takes.
      label: class of all samples, or a sequence with one class per sample.
      scale: phi, from 0 to `MAX_SCALE`.
      num_samples: number of samples.
      event_shape: shape of one sample.
      candidates: number of prior draws from which the start of each sample is chosen; see `Condition.choose_start`.

    Raises:
      InputError: label or classifier is missing, the classifier does not take the samples, a label is not one of its
        classes, the number of labels is not that of the samples, the scale is not a number in its range, or candidates
        is not an integer of at least 1.
    """
    if label is None or classifier is None:
        present, missing = ("classifier", "label") if label is None else ("label", "classifier")
        raise InputError(f"{present} is given without {missing}: class-conditional sampling takes both")
    if isinstance(scale, bool) or not isinstance(scale, numbers.Real) or not 0 <= float(scale) <= MAX_SCALE:
        raise InputError(
            f"scale = {scale!r} must be a number of at least 0 and at most {MAX_SCALE:g}; the paper's is "
            f"{DEFAULT_SCALE}"
        )
    require_integer("candidates", candidates, 1, MAX_CANDIDATES)
    if isinstance(classifier, (str, pathlib.Path)):
        classifier = load_classifier(classifier)
    elif not isinstance(classifier, Classifier):
        if not callable(classifier):
            raise InputError(f"classifier = {classifier!r} is neither a classifier, a path nor a function")
        classifier = classifier_from_function(classifier, getattr(classifier, "__name__", "function"))
    classes = classifier.num_classes(event_shape)
    try:
        labels = np.asarray(label)
    except ValueError:
        labels = np.asarray(None)  # Nested lists of different lengths, which the next check refuses.
    if labels.dtype.kind not in "iu" or labels.ndim > 1:
        raise InputError(
            f"label = {label!r} must be a class, 0 to {classes - 1}, or a sequence of one class per sample"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise InputError(f"label = {wrong} is none of the {classes} classes of {classifier.name}: 0 to {classes - 1}")
    if labels.ndim and len(labels) != num_samples:
        raise InputError(
            f"label has {len(labels)} classes for {num_samples} samples: give one class per sample, or one for all"
        )
    return Condition(classifier, np.broadcast_to(labels, num_samples).astype(np.int64), float(scale), int(candidates))


def from_flags(
    label: str | None,
    classifier: str | None,
    scale: float | None,
    num_samples: int,
    experiment: builders.Experiment,
    candidates: int | None = None,
) -> Condition | None:
    """Return the classes that --label, --classifier, --scale and --candidates ask for; None if none of them is given.

    The samples take the labels in turn, again and again, so that the class of sample i does not depend on the number of
    samples.

    Args:
      label: one class, several separated by commas, or "all".
      classifier: path of the classifier; see `load_classifier`.
      scale: phi, or None for `DEFAULT_SCALE`.
      num_samples: number of samples.
      experiment: experiment of the model that is sampled.
      candidates: number of prior draws from which each start is chosen, or None for one.

    Raises:
      InputError: label or classifier is missing, or an argument is wrong; see `condition`.
    """
    if label is None and classifier is None and scale is None and candidates is None:
        return None
    if label is None or classifier is None:
        raise InputError(
            "--label, --classifier, --scale and --candidates go together: give both --label and --classifier, or none "
            "of the four"
        )
    loaded = load_classifier(classifier)
    if label == "all":
        labels = np.arange(loaded.num_classes(experiment.event_shape))
    elif all(word.strip().isdecimal() and len(word) < 10 for word in label.split(",")):
        labels = np.array([int(word) for word in label.split(",")])
    else:
        raise InputError(f"--label={label} must be a class, such as 3, several separated by commas, or all")
    scale = DEFAULT_SCALE if scale is None else scale
    labels = np.resize(labels, num_samples)
    return condition(loaded, labels, scale, num_samples, experiment.event_shape, candidates or 1)
