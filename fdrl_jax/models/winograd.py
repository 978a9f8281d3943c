"""Winograd's convolution (Lavin & Gray, arXiv 1509.09308), for CPUs: a quarter of the multiplications of a direct one.

F(4x4, 3x3), for 3x3 kernels with stride 1. An image is cut into overlapping windows of 6x6, each the input of a tile of
4x4 outputs. One linear map takes a window to 36 numbers and another the kernel to 36 numbers; these are multiplied and
summed over channels, and a third map takes the 36 sums to the tile:

    y = A^T [(G g G^T) * (B^T d B)] A        d window [6, 6], g kernel [3, 3], y tile [4, 4]

The sums over channels are 36 matrix products. The maps are matrix products too: the Kronecker product B x B, a matrix
[36, 36], times all windows. If the maps are written out entry by entry, as they usually are, XLA compiles them to slow
loops, and nothing is gained. With matrix products, 256 channels at 16x16, batch 8, take 3.0 ms instead of 6.4 (2 cores,
jax 0.10.2; `python -m benchmarks.speed.convolutions`).

Rounding errors in float32 are three times those of a direct convolution: 1.2e-6 against 3.8e-7 (root mean square,
relative, 128 or 256 channels). Lavin & Gray evaluate polynomials at the points 0, 1, -1, 2 and -2; at `_POINTS` the
errors are half as large.
"""

import numpy as np
from jax import lax
from jax import numpy as jnp
from jaxtyping import Array, Float

TILE, SIZE = 4, 3
WINDOW = TILE + SIZE - 1

Images = Float[Array, "batch h w c_in"]
Features = Float[Array, "batch h w c_out"]
Kernel = Float[Array, "3 3 c_in c_out"]
MappedKernel = Float[Array, "36 c_in c_out"]

_POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)

# Below these bounds the maps cost as much as the products save, or more. Measured with batch 8: 64 channels at 32x32
# took 2.0 ms directly and 2.3 ms by Winograd, 256 at 4x4 0.51 and 0.52, 256 at 8x8 1.54 and 1.12. The batch size is not
# among the bounds: a sample must be the same in every batch, so the batch size must not decide which form is used.
_LEAST_CHANNELS, _LEAST_SIDE = 128, 8


def applies(kernel_shape: tuple[int, ...], stride: int = 1) -> bool:
    """Return whether a kernel [k, k, c_in, c_out] can use this form, and has enough channels to gain by it."""
    return stride == 1 and kernel_shape[:2] == (SIZE, SIZE) and min(kernel_shape[2:]) >= _LEAST_CHANNELS


def is_faster(image_shape: tuple[int, ...], kernel_shape: tuple[int, ...], stride: int) -> bool:
    """Return whether this form is the faster one on a CPU for images [batch, h, w, c_in]."""
    return applies(kernel_shape, stride) and min(image_shape[1:3]) >= _LEAST_SIDE


def _maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the matrices of the three maps: A^T x A^T [16, 36], G x G [36, 9] and B^T x B^T [36, 36].

    They are Kronecker products of the matrices for one dimension, A [6, 4], G [6, 3] and B [6, 6]. Those multiply
    polynomials through their values at `_POINTS` and infinity (Toom and Cook); the transpose of that is a correlation.
    """
    a, g, b = np.zeros((WINDOW, TILE)), np.zeros((WINDOW, SIZE)), np.zeros((WINDOW, WINDOW))
    for j, point in enumerate(_POINTS):
        others = np.delete(_POINTS, j)
        a[j] = point ** np.arange(TILE)
        g[j] = point ** np.arange(SIZE) / np.prod(point - others)
        b[:-1, j] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1
    b[:, -1] = np.poly(_POINTS)[::-1]
    return np.kron(a.T, a.T), np.kron(g, g), np.kron(b.T, b.T)


_TILE_MAP, _KERNEL_MAP, _WINDOW_MAP = _maps()


def prepare(kernel: Kernel) -> MappedKernel:
    """Return G g G^T for each pair of channels, the form of the kernel that `convolve` takes; float32 at least."""
    return _apply(_KERNEL_MAP, kernel.reshape(SIZE * SIZE, -1)).reshape(-1, *kernel.shape[2:])


def convolve(x: Images, mapped_kernel: MappedKernel) -> Features:
    """Compute the cross-correlation with one zero on every side, as `conv.plain_conv2d` with stride 1; dtype as x.

    Args:
      x: images; sides that are not a multiple of 4 are padded with zeros.
      mapped_kernel: the kernel after `prepare`.
    """
    windows = _mapped_windows(x)
    products = lax.dot_general(windows, mapped_kernel, (((2,), (1,)), ((0,), (0,))))
    tiles = _apply(_TILE_MAP, products.reshape(WINDOW * WINDOW, -1))
    (n, h, w, _), (rows, columns) = x.shape, _tiling(x)
    y = tiles.reshape(TILE, TILE, n, rows, columns, -1).transpose(2, 3, 0, 4, 1, 5)
    return y.reshape(n, rows * TILE, columns * TILE, -1)[:, :h, :w].astype(x.dtype)


def kernel_gradient(x: Images, cotangent: Features) -> Kernel:
    """Return the gradient of <cotangent, convolve(x, prepare(kernel))> with respect to the kernel; dtype as x."""
    (n, h, w, _), (rows, columns) = x.shape, _tiling(x)
    padded = jnp.pad(cotangent, ((0, 0), (0, rows * TILE - h), (0, columns * TILE - w), (0, 0)))
    tiles = padded.reshape(n, rows, TILE, columns, TILE, -1).transpose(2, 4, 0, 1, 3, 5)
    mapped = _apply(_TILE_MAP.T, tiles.reshape(TILE * TILE, -1)).reshape(WINDOW * WINDOW, n * rows * columns, -1)
    products = lax.dot_general(_mapped_windows(x), mapped, (((1,), (1,)), ((0,), (0,))))
    gradient = _apply(_KERNEL_MAP.T, products.reshape(WINDOW * WINDOW, -1))
    return gradient.reshape(SIZE, SIZE, x.shape[-1], -1).astype(x.dtype)


def _tiling(x: Images) -> tuple[int, int]:
    """Return the numbers of rows and columns of tiles that cover an image."""
    return -(-x.shape[1] // TILE), -(-x.shape[2] // TILE)


def _mapped_windows(x: Images) -> Float[Array, "36 windows c_in"]:
    """Return B^T d B for each window."""
    (n, h, w, c), (rows, columns) = x.shape, _tiling(x)
    # Without the barrier XLA fuses the computation of x into the copies below, and computes an entry of x once for each
    # window that contains it.
    x = lax.optimization_barrier(x)
    x = jnp.pad(x, ((0, 0), (1, rows * TILE - h + 1), (1, columns * TILE - w + 1), (0, 0)))

    def every_fourth(x: Array, axis: int, count: int) -> Array:
        """Return entries i = 0, ..., 5 of all windows along one dimension: [6, ...]."""
        starts = range(WINDOW)
        return jnp.stack([lax.slice_in_dim(x, i, i + (count - 1) * TILE + 1, TILE, axis) for i in starts])

    windows = every_fourth(every_fourth(x, 2, columns), 2, rows)  # [6 rows, 6 columns, batch, rows, columns, c_in]
    # The barrier makes XLA copy the windows once before the matrix product, and not compute them inside of it.
    windows = lax.optimization_barrier(windows.reshape(WINDOW * WINDOW, -1))
    return _apply(_WINDOW_MAP, windows).reshape(WINDOW * WINDOW, n * rows * columns, c)


def _apply(matrix: np.ndarray, x: Float[Array, "b columns"]) -> Float[Array, "a columns"]:
    """Return matrix @ x, in float32 where x has less precision."""
    dtype = x.dtype if x.dtype.itemsize >= 4 else jnp.float32
    return jnp.asarray(matrix, dtype) @ x.astype(dtype)
