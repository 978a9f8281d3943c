"""Times of single convolutions on a CPU: JAX's default, XLA's own kernels, and those of `fdrl_jax.models.conv`.

    python -m benchmarks.speed.convolutions [--rounds=N]

`default` is `lax.conv_general_dilated` and its gradients under `jax.jit`. `own` is the same with the compiler options
of `utils.compilation.Program`, by which XLA uses kernels of its own. `ours` is `models.conv.conv2d` with these options:
by Winograd or as one matrix product where that is faster, and without the zeros of a strided input gradient.

The layers are those of the networks of CIFAR-10, CelebA 64, LSUN 128 and digits, in float32. Forward and input gradient
run in a compiled loop, as in a flow, with the kernels prepared outside of it; the kernel's gradient runs by itself. The
forms are run in turn, and medians are printed. `differ` is the largest difference between `ours` and `own`, divided by
the largest entry.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.common import arguments
from benchmarks.common.environment import describe
from fdrl_jax.models.conv import conv2d, plain_conv2d, prepared
from fdrl_jax.utils.compilation import Program


class Layer(NamedTuple):
    """A 3x3 convolution of images [batch, side, side, c_in]."""

    batch: int
    side: int
    c_in: int
    c_out: int
    stride: int


LAYERS = (
    Layer(8, 32, 128, 128, 1),
    Layer(8, 16, 256, 256, 1),
    Layer(8, 8, 256, 256, 1),
    Layer(8, 4, 256, 256, 1),
    Layer(8, 32, 64, 64, 1),
    Layer(8, 32, 128, 256, 2),
    Layer(4, 128, 64, 64, 2),
    Layer(8, 64, 64, 64, 2),
    Layer(64, 8, 32, 32, 1),
    Layer(64, 2, 64, 64, 1),
    Layer(64, 8, 1, 32, 1),
    Layer(8, 32, 3, 128, 1),
    Layer(4, 128, 3, 64, 1),
)
STEPS = 4  # convolutions in a loop


def forms(layer: Layer) -> dict[str, dict[str, Callable[[], jax.Array]]]:
    """Return the calls to time: for "forward", "input gradient" and "kernel gradient", one for each form."""
    generator, stride = np.random.default_rng(0), layer.stride

    def normal(*shape: int, scale: float = 1.0) -> jax.Array:
        return jnp.asarray(generator.normal(scale=scale, size=shape), jnp.float32)

    x = normal(layer.batch, layer.side, layer.side, layer.c_in)
    kernel = normal(3, 3, layer.c_in, layer.c_out, scale=1 / np.sqrt(9 * layer.c_in))
    g = normal(layer.batch, layer.side // stride, layer.side // stride, layer.c_out)

    def repeated(one: Callable[[Any, Any], jax.Array]) -> Callable[[Any, Any], jax.Array]:
        # Each input depends on the output before it, so that the compiler cannot leave any convolution out.
        def body(inputs: Any, carry: Any) -> Callable[..., Any]:
            return lambda x, _: (x.at[0, 0, 0, 0].add(1e-3 * one(x, inputs)[0, 0, 0, 0]), None)

        return lambda x, inputs: one(lax.scan(body(inputs, x), x, None, length=STEPS - 1)[0], inputs)

    def forward(ours: bool) -> Callable[[Any, Any], jax.Array]:
        if ours:
            return lambda x, inputs: conv2d(x, inputs[0], stride, inputs[1])
        return lambda x, inputs: plain_conv2d(x, inputs[0], stride)

    def input_gradient(ours: bool) -> Callable[[Any, Any], jax.Array]:
        return lambda g, inputs: jax.vjp(lambda x: forward(ours)(x, inputs), x)[1](g)[0]

    def kernel_gradient(ours: bool) -> Callable[[Any, Any], jax.Array]:
        return lambda g, x: jax.vjp(lambda kernel: forward(ours)(x, (kernel, None)), kernel)[1](g)[0]

    inputs = (kernel, jax.jit(prepared)(kernel))
    operations = {
        "forward": (lambda ours: repeated(forward(ours)), x, inputs),
        "input gradient": (lambda ours: repeated(input_gradient(ours)), g, inputs),
        "kernel gradient": (kernel_gradient, g, x),
    }

    def compiled(make: Any, first: Any, second: Any) -> dict[str, Callable[[], jax.Array]]:
        default, own, ours = jax.jit(make(False)), Program(make(False)), Program(make(True))
        return {
            "default": lambda: default(first, second),
            "own": lambda: own(first, second),
            "ours": lambda: ours(first, second),
        }

    return {name: compiled(*operation) for name, operation in operations.items()}


def measure(layer: Layer, rounds: int) -> list[str]:
    """Time one layer; return a line that names it, and a line for each of its three operations."""
    flops = 2 * 9 * layer.batch * (layer.side // layer.stride) ** 2 * layer.c_in * layer.c_out
    lines = [", ".join(f"{name} {value}" for name, value in layer._asdict().items())]
    for operation, runs in forms(layer).items():
        results: dict[str, jax.Array] = {}
        times: dict[str, list[float]] = {form: [] for form in runs}
        for _ in range(rounds + 1):
            for form, run in runs.items():
                start = time.perf_counter()
                results[form] = jax.block_until_ready(run())
                times[form].append(time.perf_counter() - start)
        repeats = 1 if operation == "kernel gradient" else STEPS
        medians = {form: statistics.median(t[1:]) / repeats for form, t in times.items()}
        shown = ", ".join(f"{form} {1e3 * t:6.2f} ms ({flops / t / 1e9:4.0f} GFLOP/s)" for form, t in medians.items())
        differ = jnp.abs(results["ours"] - results["own"]).max() / jnp.abs(results["own"]).max()
        lines.append(f"  {operation:15} {shown}; differ {differ:.0e}")
    return lines


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=arguments.count, default=7)
    options = parser.parse_args(argv)
    print(describe())
    for layer in LAYERS:
        print("\n".join(measure(layer, options.rounds)), flush=True)


if __name__ == "__main__":
    main()
