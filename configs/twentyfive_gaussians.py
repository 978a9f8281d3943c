"""Twenty-five Gaussians on a grid; setting and variants in `points.py`."""

from ml_collections import ConfigDict

from configs.points import points_config


def get_config(variant: str = "lsif-chi2") -> ConfigDict:
    return points_config("twentyfive_gaussians", variant)
