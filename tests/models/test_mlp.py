"""The MLP against its formula, with the weights of the authors' MLP.

Covers: `mlp`.
"""

import numpy as np
import pytest
from parity import assert_close, mlp_params, torch_weights
from random_arrays import normal

from fdrl_jax import models

pytestmark = pytest.mark.usefixtures("strict_promotion")


def test_mlp_matches_its_formula():
    weights = torch_weights("mlp")
    estimator = models.estimator(models.MLP((16, 16, 16)), (2,), "ratio")
    x = normal((7, 2))
    h = np.asarray(x, np.float64)
    for i in (0, 2, 4):
        h = h @ weights[f"mlp.{i}.weight"].T + weights[f"mlp.{i}.bias"]
        h = np.where(h > 0, h, 0.2 * h)
    expected = (h @ weights["mlp.6.weight"].T + weights["mlp.6.bias"])[:, 0]
    params = mlp_params(weights.__getitem__)
    assert_close(estimator.apply(params, x), expected)
    assert_close(estimator.ratio_fn(params)(x), expected)
