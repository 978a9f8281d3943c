"""Licences of the data sets that a model was trained on, for its model card. This is not legal advice."""

import pathlib
from collections.abc import Mapping
from typing import Any

UNKNOWN = "the user's own images: their licence is not known here. Add it"

_BY_NAME = {
    "digits": "UCI's Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak), CC BY 4.0",
    "cifar10": "CIFAR-10 (A. Krizhevsky, 2009): its authors state no licence; used for research, with citation",
    "celeba": "CelebA (Z. Liu et al., 2015): non-commercial research only, by its authors' agreement",
    "lsun": "LSUN (F. Yu et al., 2015): its authors state no licence, and the images are their owners'; for research",
    "tfds": "a data set of TensorFlow Datasets: its licence is on its page in the catalogue. Add it",
}

# A config that names only a file format is matched to a data set by words in its path.
_BY_PATH = {
    "fashion": "Fashion-MNIST (H. Xiao, K. Rasul, R. Vollgraf, 2017), MIT",
    "emoji-datasource-google": "Google's Noto Emoji, Apache-2.0",
    "emoji-datasource-twitter": "Twemoji (Twitter, Inc and other contributors), CC BY 4.0",
    "cat2dog": "Cat2dog (H.-Y. Lee et al., 2018): its authors state no licence; for research",
}


def data_licence(name: str, path: str | None) -> str:
    """Return the source and the licence of a data set, in words.

    Args:
      name: config.data.name.
      path: path of the files; None for data that is not read from files.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    if path is None:
        return "points drawn from a formula: no licence"
    parts = [part.lower() for part in pathlib.PurePath(path).parts]
    for word, licence in _BY_PATH.items():
        if any(word in part for part in parts):
            return f"{licence} (by the name of the folder)"
    return UNKNOWN


def licences(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the licence of the training data and, if the prior is a set of images, of the source domain.

    Args:
      config: config of the run.

    Returns:
      "training data" and "source domain", each with its line from `data_licence`.
    """
    data, prior = config["data"], config["prior"]
    result = {"training data": data_licence(data["name"], data.get("path"))}
    if prior["name"] == "dataset":
        result["source domain"] = data_licence(data["name"], prior["path"])
    return result
