"""Times of normal noise inside a loop on a CPU: `jax.random`, and `fdrl_jax.utils.rng`, which writes threefry out.

    python -m benchmarks.speed.noise [--rounds=N]

Each step of a compiled loop adds its noise to the particles, as `flow.simulate` does, and nothing else. The two forms
are run in turn, and medians in nanoseconds a number are printed. `differ` is the largest difference of the sums, which
is not zero because the compiler may or may not round the products in them.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.common import arguments
from benchmarks.common.environment import describe
from fdrl_jax.types import Keys, Particles
from fdrl_jax.utils import rng
from fdrl_jax.utils.compilation import Program

STEPS = 100
# Batch size and event shape by network.
PARTICLES = {"toy": (1024, (2,)), "digits": (64, (8, 8, 1)), "cifar10": (8, (32, 32, 3)), "lsun128": (4, (128, 128, 3))}


def noise_of_jax(keys: Keys, k: jax.Array, event_shape: tuple[int, ...]) -> Particles:
    """Draw the standard normal noise of step k with `jax.random`, [batch, *event]."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, k)
    return jax.vmap(lambda key: jax.random.normal(key, event_shape))(keys)


def noise_of_rng(keys: Keys, k: jax.Array, event_shape: tuple[int, ...]) -> Particles:
    """Draw the same noise with `rng`."""
    return rng.normal(rng.fold_in(keys, k), event_shape)


def loop(
    noise: Callable[[Keys, jax.Array, tuple[int, ...]], Particles], event_shape: tuple[int, ...]
) -> Callable[[Keys, Particles], Particles]:
    """Return a function that adds the noise of STEPS steps to x."""

    def body(keys: Keys) -> Callable[[Particles, jax.Array], tuple[Particles, None]]:
        return lambda x, k: (x + noise(keys, k, event_shape), None)

    return lambda keys, x: lax.scan(body(keys), x, jnp.arange(STEPS))[0]


def measure(name: str, rounds: int) -> str:
    """Time both forms for the particles of the network `name`, and return a line to print."""
    batch_size, event_shape = PARTICLES[name]
    flat = (math.prod(event_shape),)
    keys, zeros = rng.per_sample(jax.random.key(0), batch_size), jnp.zeros((batch_size, *flat))
    forms = {
        "jax.random": (Program(loop(noise_of_jax, event_shape)), zeros.reshape(batch_size, *event_shape)),
        "rng": (Program(loop(noise_of_rng, flat)), zeros),
    }
    times: dict[str, list[float]] = {form: [] for form in forms}
    sums = {}
    for _ in range(rounds + 1):
        for form, (run, x) in forms.items():
            start = time.perf_counter()
            sums[form] = jax.block_until_ready(run(keys, x))
            times[form].append(time.perf_counter() - start)
    numbers = STEPS * zeros.size
    medians = {form: statistics.median(t[1:]) / numbers * 1e9 for form, t in times.items()}
    differ = abs(sums["rng"] - sums["jax.random"].reshape(zeros.shape)).max()
    return (
        f"{name:8} {batch_size} of {event_shape}: jax.random {medians['jax.random']:5.2f} ns a number, "
        f"rng {medians['rng']:5.2f} ({medians['jax.random'] / medians['rng']:.1f} times as fast); differ {differ:.0e}"
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=arguments.count, default=9)
    options = parser.parse_args(argv)
    print(describe())
    for name in PARTICLES:
        print(measure(name, options.rounds), flush=True)


if __name__ == "__main__":
    main()
