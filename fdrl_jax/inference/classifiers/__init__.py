"""Classifiers of images, which steer the flow to a class in class-conditional sampling (`inference.class_conditional`).

`load_classifier` reads one from a workdir of `--mode=train_classifier`, from a file of the robustness library's
ResNet-50, or from a user's Python file.
"""

from fdrl_jax.inference.classifiers.base import Classifier as Classifier
from fdrl_jax.inference.classifiers.base import classifier_from_function as classifier_from_function
from fdrl_jax.inference.classifiers.loading import load_classifier as load_classifier
