"""The ratio estimator: bfloat16 inside and float32 outside, and examples that do not depend on each other.

Covers: `precision`, `ratio_estimator`.
"""

import jax
import jax.numpy as jnp
import pytest
from parity import assert_close, random_params
from random_arrays import normal

from fdrl_jax import models

pytestmark = pytest.mark.usefixtures("strict_promotion")

STAGES = (models.Stage(8, 1, 2),)


@pytest.mark.parametrize("kind", ["mlp", "resnet"])
def test_bf16_runs_in_bfloat16_and_returns_float32(kind):
    module = models.MLP((64, 64, 64)) if kind == "mlp" else models.ResNet(8, STAGES)
    full, half = (models.estimator(module, (8, 8, 1), "ratio", precision) for precision in ("float32", "bf16"))
    params, x = random_params(full), normal((16, 8, 8, 1))
    expected, actual = jax.jit(full.apply)(params, x), jax.jit(half.apply)(params, x)
    assert actual.dtype == expected.dtype == jnp.float32
    assert_close(actual, expected, 4 * 2**-8)  # A few roundings to the 8 bits of bfloat16.
    bf16_arrays = [str(jax.make_jaxpr(estimator.apply)(params, x)).count("bf16[") for estimator in (full, half)]
    assert bf16_arrays[0] == 0 < bf16_arrays[1]
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(half.init, jax.random.key(0))))
    assert jax.eval_shape(jax.grad(lambda x: half.apply(params, x).sum()), x).dtype == jnp.float32


def test_the_output_of_an_example_does_not_depend_on_its_batch():
    estimator = models.estimator(models.ResNet(8, STAGES), (8, 8, 1), "ratio")
    apply = jax.jit(estimator.ratio_fn(random_params(estimator)))
    x = normal((4, 8, 8, 1))
    assert_close(apply(x)[1:3], apply(x[1:3]))
