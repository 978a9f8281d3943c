"""What a user asks class-conditional sampling for, checked: in Python and on the command line."""

import numbers
import pathlib
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from fdrl_jax import builders
from fdrl_jax.arguments import require_integer
from fdrl_jax.classifiers.base import Classifier, Condition, of_function
from fdrl_jax.classifiers.registry import load_classifier
from fdrl_jax.types import InputError

AnyClassifier: TypeAlias = Classifier | Callable[..., Any] | str | pathlib.Path

DEFAULT_SCALE = 0.1

# Bayes' rule has 1 (Eq. 31) and the paper takes a tenth; far beyond, a flow saturates every pixel without a word.
MAX_SCALE = 1000.0

# A pass of the classifier each: more would be a slip of the finger.
MAX_CANDIDATES = 2**16


def condition(
    classifier: Any,
    label: Any,
    scale: Any,
    num_samples: int,
    event_shape: tuple[int, ...],
    candidates: Any = 1,
) -> Condition:
    """The classes of a sampling run.

    Args:
      classifier: of such images; see `sampling.sample`.
      label: the class of all samples, or a sequence with one for each.
      scale: phi, 0 to `MAX_SCALE`.
      num_samples: how many samples there will be.
      event_shape: of one of them.
      candidates: prior draws to choose each sample's start from; see `Condition.start`.

    Raises:
      InputError: label or classifier is missing, the classifier does not take the samples, a label is none of its
        classes, there are not as many labels as samples, the scale is no number in its range, or the candidates are
        no integer of at least 1.
    """
    if label is None or classifier is None:
        given, missing = ("classifier", "label") if label is None else ("label", "classifier")
        raise InputError(f"{given} is given without {missing}: class-conditional sampling takes both")
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
        classifier = of_function(classifier, getattr(classifier, "__name__", "function"))
    classes = classifier.num_classes(event_shape)
    try:
        labels = np.asarray(label)
    except ValueError:
        labels = np.asarray(None)  # Lists of different lengths: refused below.
    if labels.dtype.kind not in "iu" or labels.ndim > 1:
        raise InputError(f"label = {label!r} must be a class, 0 to {classes - 1}, or a sequence with one a sample")
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise InputError(f"label = {wrong} is none of the {classes} classes of {classifier.name}: 0 to {classes - 1}")
    if labels.ndim and len(labels) != num_samples:
        raise InputError(f"label has {len(labels)} classes for {num_samples} samples: give one a sample, or one")
    return Condition(classifier, np.broadcast_to(labels, num_samples).astype(np.int64), float(scale), int(candidates))


def from_flags(
    label: str | None,
    classifier: str | None,
    scale: float | None,
    num_samples: int,
    experiment: builders.Experiment,
    candidates: int | None = None,
) -> Condition | None:
    """What --label, --classifier, --scale and --candidates ask for; None where none of them is given.

    Sample i gets the label at i of those given, over and over: what it is does not depend on how many there are.

    Args:
      label: a class, several by commas, or "all".
      classifier: see `load_classifier`.
      scale: phi, or None for the default.
      num_samples: how many samples there will be.
      experiment: of the run.
      candidates: prior draws to choose each start from, or None for one.

    Raises:
      InputError: one is given without the others, or see `condition`.
    """
    if label is None and classifier is None and scale is None and candidates is None:
        return None
    if label is None or classifier is None:
        given = "--label, --classifier, --scale and --candidates"
        raise InputError(f"{given} go together: a class needs a classifier, and the other way")
    known = load_classifier(classifier)
    if label == "all":
        labels = np.arange(known.num_classes(experiment.event_shape))
    elif all(word.strip().isdecimal() and len(word) < 10 for word in label.split(",")):
        labels = np.array([int(word) for word in label.split(",")])
    else:
        raise InputError(f"--label={label} must be a class, such as 3, several by commas, or all")
    scale = DEFAULT_SCALE if scale is None else scale
    labels = np.resize(labels, num_samples)
    return condition(known, labels, scale, num_samples, experiment.event_shape, candidates or 1)
