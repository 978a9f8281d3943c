"""Spectral norm: its vectors, the power iteration, the division of the weights and its gradient.

Covers: `spectral_norm`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import assert_close, random_params
from random_arrays import normal, random_like
from scipy import stats

from fdrl_jax import models
from fdrl_jax.models import spectral_norm

pytestmark = pytest.mark.usefixtures("strict_promotion")

STAGES = (models.Stage(8, 1, 2), models.Stage(16, 1, 1))


def normed(attention=0, iterations=0):
    """An estimator with spectral norm, its parameters, and the vectors after some power iterations."""
    estimator = models.estimator(models.ResNet(8, STAGES, attention=attention), (8, 8, 1), "ratio", spectral_norm=True)
    params = random_params(estimator)
    vectors = estimator.init_spectral(jax.random.key(1), params)
    advance = jax.jit(estimator.advance_spectral)
    for _ in range(iterations):
        vectors = advance(params, vectors)
    return estimator, params, vectors


def kernels(tree):
    """The kernels in a tree by path, as matrices [out, rest]."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = {tuple(key.key for key in path): np.asarray(leaf) for path, leaf in leaves}
    return {path: leaf.reshape(-1, leaf.shape[-1]).T for path, leaf in named.items() if path[-1] == "kernel"}


def vectors_at(tree, path):
    """The vectors u and v of the kernel at `path`."""
    for part in path:
        tree = tree[part]
    return np.asarray(tree["u"]), np.asarray(tree["v"])


def test_every_kernel_has_vectors_of_length_one_and_nothing_else_has():
    _, params, vectors = normed(attention=1)
    paths = {tuple(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(vectors)}
    assert paths == {(*path, x) for path in kernels(params) for x in "uv"}
    starts = []
    for path, matrix in kernels(params).items():
        u, v = vectors_at(vectors, path)
        assert (len(u), len(v)) == matrix.shape
        for x in (u, v):
            assert np.linalg.norm(x) == pytest.approx(1, rel=1e-5)
            starts += [float(x[0])] if len(x) > 1 else []  # A vector of length 1 is 1 or -1.
    assert len(set(starts)) == len(starts) > 12


def test_vectors_start_in_every_direction():
    # The coordinates of a uniformly distributed direction have mean 0 and variance 1 / n.
    params = {"kernel": jnp.zeros((10_000, 400))}
    vectors = spectral_norm.init_vectors(jax.random.key(0), params)["kernel"]
    for x in (vectors["u"], vectors["v"]):
        assert stats.kstest(np.asarray(x) * math.sqrt(len(x)), "norm").pvalue > 0.01
    assert np.abs(spectral_norm.init_vectors(jax.random.key(1), params)["kernel"]["u"] - vectors["u"]).max() > 0.01


def test_a_power_iteration_by_hand():
    estimator, params, vectors = normed()
    after = estimator.advance_spectral(params, vectors)
    for path, W in kernels(params).items():
        u, _ = vectors_at(vectors, path)
        v = W.T.astype(np.float64) @ u
        v /= np.linalg.norm(v)
        u = W @ v / np.linalg.norm(W @ v)
        for actual, expected in zip(vectors_at(after, path), (u, v), strict=True):
            assert_close(actual, expected)


def test_effective_weights_have_spectral_norm_one():
    estimator, params, vectors = normed(attention=2, iterations=200)
    effective = estimator.effective(params, vectors)
    for matrix in kernels(effective).values():
        assert np.linalg.norm(matrix, 2) == pytest.approx(1, rel=1e-3)
    assert effective["attention"]["gamma"] == params["attention"]["gamma"]
    np.testing.assert_array_equal(effective["head"]["bias"], params["head"]["bias"])


def test_the_gradient_goes_through_the_norm_and_not_through_its_vectors():
    # d/dW of <C, W / s> with s = u^T W v is C / s - <C, W> / s^2 u v^T.
    _, params, vectors = normed(iterations=1)
    cotangents = random_like(params)

    def inner(params, vectors):
        pairs = zip(jax.tree.leaves(spectral_norm.normalise(params, vectors)), jax.tree.leaves(cotangents), strict=True)
        return sum((a * b).sum() for a, b in pairs)

    in_params, in_vectors = jax.jit(jax.grad(inner, argnums=(0, 1)))(params, vectors)
    assert all(not leaf.any() for leaf in jax.tree.leaves(in_vectors))
    matrices, directions = kernels(in_params), kernels(cotangents)
    for path, W in kernels(params).items():
        u, v = (x.astype(np.float64) for x in vectors_at(vectors, path))
        C, s = directions[path].astype(np.float64), u @ W @ v
        assert_close(matrices[path], C / s - (C * W).sum() / s**2 * np.outer(u, v))
    np.testing.assert_array_equal(in_params["head"]["bias"], cotangents["head"]["bias"])


def test_power_iteration_is_not_differentiated():
    def after(params):
        return sum(leaf.sum() for leaf in jax.tree.leaves(spectral_norm.power_iteration(params, vectors)))

    _, params, vectors = normed()
    assert all(not leaf.any() for leaf in jax.tree.leaves(jax.jit(jax.grad(after))(params)))


def test_without_spectral_norm_parameters_pass_unchanged():
    estimator = models.estimator(models.ResNet(8, STAGES), (8, 8, 1), "ratio")
    params = random_params(estimator)
    assert estimator.init_spectral(jax.random.key(0), params) == {} == estimator.advance_spectral(params, {})
    assert estimator.effective(params, {}) is params
    assert estimator.effective(jnp.ones(3), {}).shape == (3,)  # The parameters need not be a tree.


def test_the_network_takes_effective_weights():
    estimator, params, vectors = normed(iterations=3)
    plain = models.estimator(models.ResNet(8, STAGES), (8, 8, 1), "ratio")
    x, effective = normal((3, 8, 8, 1)), estimator.effective(params, vectors)
    np.testing.assert_array_equal(estimator.apply(effective, x), plain.apply(effective, x))
