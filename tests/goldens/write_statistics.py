"""Write statistics as this package does, for check_goldens.py to read with PyTorch: python write_statistics.py FILE."""

import pathlib
import sys

import inception_inputs as inputs
import numpy as np

from fdrl_jax.evaluation import features

if __name__ == "__main__":
    values = inputs.frechet_features("frechet_features_b")
    features.write_statistics(pathlib.Path(sys.argv[1]), values.mean(axis=0), np.cov(values, rowvar=False))
