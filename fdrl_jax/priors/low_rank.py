"""The data-dependent prior as r directions and a standard deviation for each pixel: r/D of the exact prior's size."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Float64
from scipy import linalg

from fdrl_jax.priors import example_blocks
from fdrl_jax.priors.example_blocks import Examples
from fdrl_jax.types import InputError, Keys, Particles
from fdrl_jax.utils import rng


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LowRankGaussian:
    """N(mean, basis basis^T + diag(residual^2)), with draws clipped to [-clip, clip].

    Attributes:
      mean: the mean, [*event] float32.
      basis: leading principal axes of the flattened event, each times its standard deviation, the largest first;
        [D, r] float32.
      residual: standard deviation of each pixel that the basis does not explain, [*event] float32.
      clip: bound of the draws, or None not to clip them.
      spread: True if the rows of `basis` are sharded over several devices; see `priors.place`.
    """

    mean: Float[Array | np.ndarray, "*event"]
    basis: Float[Array | np.ndarray, "d r"]
    residual: Float[Array | np.ndarray, "*event"]
    clip: float | None = field(default=1.0, metadata={"static": True})
    spread: bool = field(default=False, metadata={"static": True})

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.mean.shape

    def sample(self, keys: Keys) -> Particles:
        """Return one draw for each key, [batch, *event] float32."""
        directions, pixels = (rng.fold_in(keys, i) for i in range(2))
        return self._draws(rng.normal(directions, (self.basis.shape[1],)), rng.normal(pixels, self.event_shape))

    @property
    def normal_size(self) -> int:
        """The number of values in a row of `from_normal`: one for each direction, then one for each pixel."""
        return self.basis.shape[1] + self.mean.size

    def from_normal(self, z: Float[Array | np.ndarray, "batch d"]) -> Particles:
        """Return mean + basis z[:r] + residual z[r:], clipped: draws if z is standard normal."""
        directions, pixels = jnp.split(jnp.asarray(z), [self.basis.shape[1]], axis=1)
        return self._draws(directions, pixels.reshape(-1, *self.event_shape))

    def _draws(self, directions: Float[Array, "batch r"], pixels: Particles) -> Particles:
        # By default a TPU multiplies in bfloat16, which loses the small eigenvalues.
        flat = jnp.matmul(directions, self.basis.T, precision=jax.lax.Precision.HIGHEST)
        noise = jnp.multiply(self.residual[None], pixels)
        x = jnp.add(self.mean[None], flat.reshape(-1, *self.event_shape) + noise)
        return x if self.clip is None else jnp.clip(x, -self.clip, self.clip)

    def variance_kept(self) -> float:
        """The share of the total variance, jitter included, that the basis explains."""
        kept, rest = (float(np.square(x, dtype=np.float64).sum()) for x in (self.basis, self.residual))
        return kept / (kept + rest) if kept else 0.0


def fit_low_rank(
    data: Examples,
    rank: int,
    jitter: float = 1e-4,
    clip: float | None = 1.0,
    seed: int = 0,
    progress: bool = False,
    power: int = 2,
) -> LowRankGaussian:
    """Fit the `rank` leading principal axes of `data`, and the exact variance of each pixel.

    The axes come from a randomised range finder with `power` power iterations (Halko, Martinsson and Tropp, 2011, arXiv
    0909.4061, Algorithms 4.3 and 5.5), where each step is a pass over the data: `power` + 2 passes, no [D, D] array,
    and in memory three arrays a little larger than the basis and a block of examples.

    Args:
      data: training examples [n, *event], uint8 pixels or floats in [-1, 1], neither flipped nor dequantised; anything
        that can be sliced, such as a memory map.
      rank: r, the number of columns of the basis.
      jitter: variance added to every pixel, as in `fit_gaussian`.
      clip: bound of the draws, or None; see `LowRankGaussian`.
      seed: seed of the range finder.
      progress: show progress bars.
      power: number of power iterations; more bring the basis nearer to the leading principal axes.

    Raises:
      InputError: there are no examples, values that are not finite, or `rank` is larger than that of the data can be.
    """
    d, n = example_blocks.size(data), data.shape[0]
    if not 1 <= rank <= min(d, n - 1):
        raise InputError(
            f"prior.rank = {rank} must be from 1 to {min(d, n - 1)}: {n} examples of {d} values have no larger rank"
        )
    width = min(rank + max(16, rank // 16), d, n)
    q = np.random.default_rng(seed).standard_normal((d, width), np.float32)
    # The mean is not known yet, so the first pass is centred by an approximate mean: it only proposes a subspace.
    result = _pass_over(data, example_blocks.near_mean(data), q, "low rank, pass 1", progress, squares=True)
    mean, variance = result.mean, result.variance
    for i in range(power + 1):
        # numpy's QR computes in float64: at d = 49152 and r = 1024 it takes 1.4 GiB more than scipy's.
        q = linalg.qr(result.product, overwrite_a=True, mode="economic", check_finite=False)[0]
        result = _pass_over(data, mean.astype(np.float32), q, f"low rank, pass {i + 2}", progress)
    scale, offset = example_blocks.units(data)
    basis = _nystrom(result.product, result.core, rank) * np.float32(scale)
    mean, variance = mean * scale + offset, variance * scale**2 + jitter
    residual = np.sqrt(np.maximum(variance - np.square(basis, dtype=np.float64).sum(axis=1), 0))
    event = data.shape[1:]
    return LowRankGaussian(
        mean.reshape(event).astype(np.float32), basis, residual.reshape(event).astype(np.float32), clip
    )


def reduce_rank(
    mean: Float[Array | np.ndarray, "*event"],
    factor: Float[Array | np.ndarray, "d d"],
    rank: int,
    clip: float | None = 1.0,
    seed: int = 0,
    power: int = 2,
) -> LowRankGaussian:
    """Compute the `rank` leading principal axes of N(mean, factor factor^T), and the exact variance of each pixel.

    This is `fit_low_rank` from an exact fit instead of its data: `power` + 1 products with the covariance, and in
    memory, in addition to `factor`, a few arrays of the size of the basis.

    Args:
      mean, factor, clip: fields of a `Gaussian`.
      rank, seed, power: number of columns, seed and number of power iterations; see `fit_low_rank`.

    Raises:
      InputError: `rank` is not from 1 to the number of values.
    """
    mean, factor = np.asarray(mean), np.asarray(factor)
    d = len(factor)
    if not 1 <= rank <= d:
        raise InputError(f"prior.rank = {rank} must be from 1 to {d}, the number of values in an image")
    q = np.random.default_rng(seed).standard_normal((d, min(rank + max(16, rank // 16), d)), np.float32)
    for _ in range(power):
        q = linalg.qr(factor @ (factor.T @ q), overwrite_a=True, mode="economic", check_finite=False)[0]
    half = factor.T @ q
    basis = _nystrom(factor @ half, (half.T @ half).astype(np.float64), rank)
    variance = np.einsum("ij,ij->i", factor, factor, dtype=np.float64)
    residual = np.sqrt(np.maximum(variance - np.square(basis, dtype=np.float64).sum(axis=1), 0))
    return LowRankGaussian(mean, basis, residual.reshape(mean.shape).astype(np.float32), clip)


class _Pass(NamedTuple):
    """Results of one pass over the data, with C the second moments about `shift`.

    Attributes:
      product: C q.
      core: q^T C q.
      mean: mean of the data.
      variance: variance of each value, or empty if not asked for.
    """

    product: Float32[np.ndarray, "d w"]
    core: Float64[np.ndarray, "w w"]
    mean: Float64[np.ndarray, " d"]
    variance: Float64[np.ndarray, " v"]


def _pass_over(
    data: Examples,
    shift: Float32[np.ndarray, " d"],
    q: Float32[np.ndarray, "d w"],
    label: str,
    progress: bool,
    squares: bool = False,
) -> _Pass:
    """Multiply `q` by the second moments of the data in one pass over it, in the units of the stored values."""
    d, width = q.shape
    product, scratch = np.zeros((d, width), np.float32), np.empty((d, width), np.float32)
    core, total, square = np.zeros((width, width)), np.zeros(d), np.zeros(d if squares else 0)
    for x in example_blocks.blocks(data, shift, label, progress):
        y = x @ q
        product += np.matmul(x.T, y, out=scratch)
        y64 = y.astype(np.float64)
        core += y64.T @ y64
        total += x.sum(axis=0, dtype=np.float64)
        if squares:
            square += np.square(x, out=x).sum(axis=0, dtype=np.float64)
    n = data.shape[0]
    delta = total / n
    product /= n
    return _Pass(product, core / n, shift + delta, square / n - (delta**2)[: len(square)])


def _nystrom(
    product: Float32[np.ndarray, "d w"], core: Float64[np.ndarray, "w w"], rank: int
) -> Float32[np.ndarray, "d r"]:
    """Compute B of the best rank-r B B^T <= C q (q^T C q)^+ q^T C (Tropp et al., 2017, arXiv 1706.05736).

    This approximates C from below: C - B B^T is positive semidefinite, so that no pixel gets more variance than it has.
    q q^T C q q^T, computed from the same numbers, can have more and is further from C.
    """
    values, vectors = np.linalg.eigh(core)
    kept = values > np.finfo(np.float32).eps * values[-1]
    half = product @ (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)
    axes = np.linalg.eigh((half.T @ half).astype(np.float64))[1][:, ::-1][:, :rank].astype(np.float32)
    basis = np.zeros((len(product), rank), np.float32)
    basis[:, : axes.shape[1]] = half @ axes
    return basis
