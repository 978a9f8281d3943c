"""Would the gradient of a convolution's kernel be faster as nine products? A trial, which the package does not use.

    python -m benchmarks.kernel_gradient [--rounds=N]

XLA computes it as a convolution of the images with the cotangent. Here each of the k x k entries is one matrix product
of the shifted images with the cotangent. Printed for layers of the networks of CIFAR-10 (batch 8) and digits (64), in
float32: medians in turn, GFLOP/s, and the largest difference by the largest entry.
"""

import argparse
import statistics
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.environment import describe
from fdrl_jax.models.conv import plain_conv2d


class Layer(NamedTuple):
    batch: int
    side: int
    c_in: int
    c_out: int
    stride: int


SIZE = 3
LAYERS = (
    Layer(8, 32, 128, 128, 1),
    Layer(8, 16, 256, 256, 1),
    Layer(8, 8, 256, 256, 1),
    Layer(8, 4, 256, 256, 1),
    Layer(8, 32, 128, 256, 2),
    Layer(64, 8, 24, 24, 1),
    Layer(64, 4, 48, 48, 1),
)


def by_products(x: jax.Array, cotangent: jax.Array, stride: int) -> jax.Array:
    """[3, 3, c_in, c_out]."""
    n, _, _, c = x.shape
    rows, columns, c_out = cotangent.shape[1:]
    x, flat = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), cotangent.reshape(-1, c_out)
    products = []
    for i in range(SIZE):
        for j in range(SIZE):
            stop = (n, i + (rows - 1) * stride + 1, j + (columns - 1) * stride + 1, c)
            shifted = lax.slice(x, (0, i, j, 0), stop, (1, stride, stride, 1)).reshape(-1, c)
            products.append(shifted.T @ flat)
    return jnp.stack(products).reshape(SIZE, SIZE, c, c_out)


def measure(layer: Layer, rounds: int) -> str:
    generator, stride = np.random.default_rng(0), layer.stride
    x = jnp.asarray(generator.normal(size=(layer.batch, layer.side, layer.side, layer.c_in)), jnp.float32)
    out = layer.side // stride
    cotangent = jnp.asarray(generator.normal(size=(layer.batch, out, out, layer.c_out)), jnp.float32)
    kernel = jnp.zeros((SIZE, SIZE, layer.c_in, layer.c_out))
    forms = {
        "XLA": jax.jit(lambda x, g: jax.vjp(lambda k: plain_conv2d(x, k, stride), kernel)[1](g)[0]),
        "products": jax.jit(lambda x, g: by_products(x, g, stride)),
    }
    results: dict[str, jax.Array] = {}
    times: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(rounds + 1):
        for form, run in forms.items():
            start = time.perf_counter()
            results[form] = jax.block_until_ready(run(x, cotangent))
            times[form].append(time.perf_counter() - start)
    differ = jnp.abs(results["products"] - results["XLA"]).max() / jnp.abs(results["XLA"]).max()
    flops = 2 * cotangent.size * kernel.size / layer.c_out
    medians = {form: statistics.median(t[1:]) for form, t in times.items()}
    shown = [f"{form} {1e3 * t:6.2f} ms ({flops / t / 1e9:3.0f} GFLOP/s)" for form, t in medians.items()]
    what = ", ".join(f"{name} {value}" for name, value in layer._asdict().items())
    return f"{what}: {', '.join(shown)}; differ {differ:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(describe())
    for layer in LAYERS:
        print(measure(layer, options.rounds), flush=True)


if __name__ == "__main__":
    main()
