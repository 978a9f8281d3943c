"""Load a classifier from whatever --classifier names: a workdir, a file of weights, or a function in a Python file."""

import pathlib

from fdrl_jax.inference.classifiers import robust_resnet50, trained
from fdrl_jax.inference.classifiers.base import Classifier, classifier_from_function
from fdrl_jax.types import InputError
from fdrl_jax.utils.user_functions import function_of_file
from fdrl_jax.utils.validation import require_path


def load_classifier(path: str | pathlib.Path) -> Classifier:
    """Load a classifier of images.

    Args:
      path: one of three kinds:
        a workdir of `--mode=train_classifier`;
        FILE.pt (.pth, .safetensors) with the robustness library's ResNet-50 for CIFAR-10, or with its state_dict. Only
        tensors are read, and no code in the file is run;
        FILE.py:FUNCTION, a function in jax.numpy from images [batch, H, W, C] in [-1, 1] to logits [batch, classes].
        The Python file is run.

    Raises:
      InputError: the path is none of these, or a file is damaged.
    """
    path = require_path("classifier", path, "a workdir of --mode=train_classifier, or FILE.pt, or FILE.py:FUNCTION")
    name = str(path)
    if ".py:" in name:
        function, _, _ = function_of_file(name, "classifier")
        return classifier_from_function(function, name)
    if path.suffix in (".pt", ".pth", ".safetensors") and not path.is_dir():
        return robust_resnet50.load(path)
    if not path.is_dir():
        raise InputError(
            f"classifier {name} does not exist: give the workdir of --mode=train_classifier, FILE.pt or "
            "FILE.py:FUNCTION"
        )
    return trained.load(path)
