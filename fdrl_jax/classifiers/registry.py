"""Classifiers by what the command line calls them."""

import pathlib

from fdrl_jax.arguments import require_path
from fdrl_jax.classifiers import robust_resnet50, trained
from fdrl_jax.classifiers.base import Classifier, of_function
from fdrl_jax.features.registry import function_of_file
from fdrl_jax.types import InputError


def load_classifier(path: str | pathlib.Path) -> Classifier:
    """A classifier of images.

    Args:
      path: what it is in:
        WORKDIR of `--mode=train_classifier`;
        FILE.pt (.pth, .safetensors) of the robustness library's CIFAR-10 ResNet-50, or of a state_dict of it. Tensors
        are read, and nothing in it is run;
        FILE.py:FUNCTION, from images [batch, H, W, C] in [-1, 1] to logits [batch, classes], in jax.numpy. That file
        is Python code, and is run.

    Raises:
      InputError: it is none of these, or damaged.
    """
    path = require_path("classifier", path, "a workdir of --mode=train_classifier, or FILE.pt, or FILE.py:FUNCTION")
    name = str(path)
    if ".py:" in name:
        function, _, _ = function_of_file(name, "classifier")
        return of_function(function, name)
    if path.suffix in (".pt", ".pth", ".safetensors") and not path.is_dir():
        return robust_resnet50.load(path)
    if not path.is_dir():
        raise InputError(
            f"classifier {name} is not there: give the workdir of --mode=train_classifier, FILE.pt or FILE.py:FUNCTION"
        )
    return trained.load(path)
