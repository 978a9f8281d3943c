"""Classifiers of images, which class-conditional sampling asks for the class (`compose.class_conditional`).

`load_classifier` reads them: of `--mode=train_classifier`, the robustness library's ResNet-50, or a function of yours.
"""

from fdrl_jax.classifiers.base import Classifier as Classifier
from fdrl_jax.classifiers.base import Condition as Condition
from fdrl_jax.classifiers.base import of_function as of_function
from fdrl_jax.classifiers.condition import DEFAULT_SCALE as DEFAULT_SCALE
from fdrl_jax.classifiers.condition import AnyClassifier as AnyClassifier
from fdrl_jax.classifiers.condition import condition as condition
from fdrl_jax.classifiers.condition import from_flags as from_flags
from fdrl_jax.classifiers.registry import load_classifier as load_classifier
