"""Spectral normalisation (Miyato et al., arXiv 1802.05957), applied to parameters: the networks do not know about it.

Every weight named "kernel" is divided by an estimate u^T W v of its largest singular value, where W [out, rest] is the
kernel as a matrix. Biases and attention's gamma are not divided. The vectors are a tree parallel to the kernels,
{"stem": {"kernel": {"u": [out], "v": [rest]}}, ...}; an empty tree means no spectral norm, and changes nothing.

The authors run one power iteration in every forward pass. Here a training step runs one, all its forward passes share
the normalised weights, and sampling keeps the vectors as they are.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from fdrl_jax.types import Params

Spectral: TypeAlias = PyTree[Float[Array, "..."]]

# The same bound on the norm that PyTorch's torch.nn.functional.normalize divides by.
_EPSILON = 1e-12


def init_vectors(key: Key[Array, ""], params: Params) -> Spectral:
    """Draw random unit vectors u and v for every kernel, as PyTorch's torch.nn.utils.spectral_norm does."""
    kernels, structure = jax.tree.flatten(_kernels(params))

    def draw(key: Key[Array, ""], kernel: Float[Array, "..."]) -> Spectral:
        u, v = (jax.random.normal(k, (n,)) for k, n in zip(jax.random.split(key), _matrix(kernel).shape, strict=True))
        return {"u": _unit(u), "v": _unit(v)}

    vectors = [draw(key, kernel) for key, kernel in zip(jax.random.split(key, len(kernels)), kernels, strict=True)]
    return jax.tree.unflatten(structure, vectors)


def power_iteration(params: Params, spectral: Spectral) -> Spectral:
    """Run one power iteration: v = W^T u, u = W v, each scaled to length 1. The result has no gradient."""

    def iterate(kernel: Float[Array, "..."], vectors: Spectral) -> Spectral:
        W = _matrix(kernel)
        v = _unit(_times(W.T, vectors["u"]))
        return {"u": _unit(_times(W, v)), "v": v}

    if not spectral:
        return spectral
    return jax.lax.stop_gradient(jax.tree.map(iterate, _kernels(params), spectral))


def normalise(params: Params, spectral: Spectral) -> Params:
    """Return the effective weights, kernel / (u^T W v); differentiable in `params`, with u and v constant."""

    def scale(tree: Any, vectors: Spectral) -> Any:
        if not isinstance(tree, Mapping):
            u, v = jax.lax.stop_gradient((vectors["u"], vectors["v"]))
            return tree / (u * _times(_matrix(tree), v)).sum()
        return {name: scale(sub, vectors[name]) if name in vectors else sub for name, sub in tree.items()}

    return scale(params, spectral) if spectral else params


def _kernels(params: Params) -> dict[str, Any]:
    """The tree of `params` with nothing but its kernels."""
    tree = {}
    for name, sub in params.items():
        branch = _kernels(sub) if isinstance(sub, Mapping) else sub
        if name == "kernel" or (isinstance(sub, Mapping) and branch):
            tree[name] = branch
    return tree


def _matrix(kernel: Float[Array, "*rest out"]) -> Float[Array, "out flat"]:
    return kernel.reshape(-1, kernel.shape[-1]).T


def _times(matrix: Float[Array, "a b"], vector: Float[Array, " b"]) -> Float[Array, " a"]:
    # Full precision: by default a GPU or TPU rounds the factors, and the error would scale the whole layer.
    return jnp.matmul(matrix, vector, precision="highest")


def _unit(x: Float[Array, " n"]) -> Float[Array, " n"]:
    return x / jnp.maximum(jnp.linalg.norm(x), _EPSILON)
