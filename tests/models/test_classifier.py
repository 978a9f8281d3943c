"""The classifier is the ratio's ResNet with a logit for each class.

Covers: `classifier`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_arrays import normal, random_like

from fdrl_jax import models

pytestmark = pytest.mark.usefixtures("strict_promotion")

STAGES = (models.Stage(8, 2, 1), models.Stage(16, 1, 2))


@pytest.mark.slow
def test_each_logit_is_the_output_of_a_resnet_with_that_column_of_the_head():
    classifier, resnet = models.CNN(4, STAGES, classes=3), models.ResNet(4, STAGES)
    params, x = random_like(classifier.start(jax.random.key(0), (8, 8, 2))), normal((5, 8, 8, 2))
    logits = classifier.logits(params, x)
    assert (logits.shape, logits.dtype) == ((5, 3), jnp.float32)
    for i in range(3):
        head = {"kernel": params["head"]["kernel"][:, i : i + 1], "bias": params["head"]["bias"][i : i + 1]}
        expected = resnet.apply({"params": params | {"head": head}}, x)
        np.testing.assert_allclose(logits[:, i], expected, rtol=1e-4, atol=1e-3)


def test_parameters_start_as_pytorchs_do():
    params = models.CNN(4, STAGES, classes=3).start(jax.random.key(0), (8, 8, 2))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    for leaf in params["head"].values():
        assert 0 < np.abs(leaf).max() <= 0.25  # 1 / sqrt(16)
