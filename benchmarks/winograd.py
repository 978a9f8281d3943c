"""Would Winograd's convolution pay on a CPU? A trial, which the package does not use: it was slower where it matters.

    python -m benchmarks.winograd [--rounds=N]

F(4x4, 3x3) of Lavin & Gray (arXiv 1509.09308) does a 3x3 convolution with a quarter of the multiplications: tiles of
6x6 inputs and the kernel are each mapped to 36 numbers, multiplied there by 36 matrix products, and mapped back to 4x4
outputs. In a flow the kernels would be mapped once. Printed for the layers of CIFAR-10's network, batch 8, float32:
three convolutions with LeakyReLU inside a compiled scan, XLA's own and these in turn; medians of a convolution, the
largest difference by the largest output, and the seconds of the first call.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.environment import describe
from fdrl_jax.models.conv import plain_conv2d
from fdrl_jax.models.layers import leaky_relu

TILE, SIZE = 4, 3
WINDOW = TILE + SIZE - 1
LAYERS = ((32, 128), (16, 256), (8, 256), (4, 256))
# With Lavin & Gray's points 0, 1, -1, 2, -2 rounding errors are twice as large.
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
BATCH, CONVOLUTIONS, STEPS = 8, 3, 4


def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A, G and B with A' [(G g) (B d)] the correlation of d with g: products by values at `POINTS` and infinity."""
    a, g, b = np.zeros((WINDOW, TILE)), np.zeros((WINDOW, SIZE)), np.zeros((WINDOW, WINDOW))
    for j, point in enumerate(POINTS):
        others = np.delete(POINTS, j)
        a[j] = point ** np.arange(TILE)
        g[j] = point ** np.arange(SIZE) / np.prod(point - others)
        b[j, :-1] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1
    b[-1] = np.poly(POINTS)[::-1]
    return a, g, b


A, G, B = maps()


def prepare(kernel: jax.Array) -> jax.Array:
    """[3, 3, c_in, c_out] -> [36, c_in, c_out]."""
    g = jnp.asarray(G, kernel.dtype)
    return jnp.einsum("ai,bj,ijco->abco", g, g, kernel).reshape(-1, *kernel.shape[2:])


def convolve(x: jax.Array, prepared: jax.Array) -> jax.Array:
    """Stride 1, a zero on every side; the images' sides are multiples of 4."""
    x = lax.optimization_barrier(x)  # Else XLA computes what is before it once for each tile that it is in.
    n, h, w, c = x.shape
    rows, columns = h // TILE, w // TILE
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def entry(i: int, j: int) -> jax.Array:
        stop = (n, i + (rows - 1) * TILE + 1, j + (columns - 1) * TILE + 1, c)
        return lax.slice(x, (0, i, j, 0), stop, (1, TILE, TILE, 1))

    mapped = both(B, [[entry(i, j) for j in range(WINDOW)] for i in range(WINDOW)])
    stacked = jnp.stack([tile.reshape(-1, c) for row in mapped for tile in row])
    products = lax.dot_general(stacked, prepared, (((2,), (1,)), ((0,), (0,))))
    products = products.reshape(WINDOW, WINDOW, n, rows, columns, -1)
    y = both(A.T, [[products[i, j] for j in range(WINDOW)] for i in range(WINDOW)])
    return jnp.stack([jnp.stack(row, axis=3) for row in y], axis=2).reshape(n, h, w, -1)


def both(matrix: np.ndarray, tiles: list[list[jax.Array]]) -> list[list[jax.Array]]:
    """matrix @ tile @ matrix.T, of a tile whose entries are arrays."""
    columns = [along(matrix, list(column)) for column in zip(*tiles, strict=True)]
    return [along(matrix, list(row)) for row in zip(*columns, strict=True)]


def along(matrix: np.ndarray, entries: list[jax.Array]) -> list[jax.Array]:
    return [functools.reduce(jnp.add, (float(m) * x for m, x in zip(row, entries, strict=True) if m)) for row in matrix]


def flow(convolution: Callable[[jax.Array, jax.Array], jax.Array]) -> Callable[..., jax.Array]:
    def body(kernels: list[jax.Array], x: jax.Array, _: None) -> tuple[jax.Array, None]:
        y = x
        for kernel in kernels:
            y = leaky_relu(convolution(y, kernel))
        return x + 0.1 * y, None

    return jax.jit(lambda x, kernels: lax.scan(functools.partial(body, kernels), x, None, length=STEPS)[0])


def measure(size: int, channels: int, rounds: int) -> str:
    generator = np.random.default_rng(0)
    x = jnp.asarray(generator.normal(size=(BATCH, size, size, channels)), jnp.float32)
    scale = 1 / np.sqrt(SIZE * SIZE * channels)
    kernels = [
        jnp.asarray(generator.normal(scale=scale, size=(SIZE, SIZE, channels, channels)), jnp.float32)
        for _ in range(CONVOLUTIONS)
    ]
    forms = {
        "XLA": (flow(lambda x, kernel: plain_conv2d(x, kernel, 1)), kernels),
        "Winograd": (flow(convolve), [prepare(kernel) for kernel in kernels]),
    }
    results: dict[str, jax.Array] = {}
    times: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(rounds + 1):
        for form, (run, prepared) in forms.items():
            start = time.perf_counter()
            results[form] = jax.block_until_ready(run(x, prepared))
            times[form].append(time.perf_counter() - start)
    differ = jnp.abs(results["Winograd"] - results["XLA"]).max() / jnp.abs(results["XLA"]).max()
    shown = [
        f"{form} {1e3 * statistics.median(t[1:]) / STEPS / CONVOLUTIONS:6.2f} ms (first call {t[0]:.1f} s)"
        for form, t in times.items()
    ]
    return f"{size} x {size}, {channels} channels: {', '.join(shown)}; differ {differ:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(describe())
    for size, channels in LAYERS:
        print(measure(size, channels, options.rounds), flush=True)


if __name__ == "__main__":
    main()
