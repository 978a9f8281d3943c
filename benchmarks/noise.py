"""Normal noise inside of a loop on a CPU: `jax.random` as it is, and `fdrl_jax.rng`, which writes threefry out.

    python -m benchmarks.noise [--rounds=N]

A compiled loop of steps, each of which adds the noise of that step to the particles, as `flow.simulate` does, and
nothing else. Nanoseconds a number, medians in turn; `differ` is the largest difference of the sums, in which the
compiler rounds a product or does not.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks import arguments
from benchmarks.environment import describe
from fdrl_jax import rng
from fdrl_jax.programs import Program
from fdrl_jax.types import Keys, Particles

STEPS = 100
PARTICLES = {"toy": (1024, (2,)), "digits": (64, (8, 8, 1)), "cifar10": (8, (32, 32, 3)), "lsun128": (4, (128, 128, 3))}


def of_jax(keys: Keys, k: jax.Array, event_shape: tuple[int, ...]) -> Particles:
    """Standard normal numbers of step k by `jax.random`."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, k)
    return jax.vmap(lambda key: jax.random.normal(key, event_shape))(keys)


def of_rng(keys: Keys, k: jax.Array, event_shape: tuple[int, ...]) -> Particles:
    """The same by `rng`."""
    return rng.normal(rng.fold_in(keys, k), event_shape)


def loop(
    noise: Callable[[Keys, jax.Array, tuple[int, ...]], Particles], event_shape: tuple[int, ...]
) -> Callable[[Keys, Particles], Particles]:
    """The sum of STEPS steps' noise and x."""

    def body(keys: Keys) -> Callable[[Particles, jax.Array], tuple[Particles, None]]:
        return lambda x, k: (x + noise(keys, k, event_shape), None)

    return lambda keys, x: lax.scan(body(keys), x, jnp.arange(STEPS))[0]


def measure(name: str, rounds: int) -> str:
    """A line for these particles."""
    batch_size, event_shape = PARTICLES[name]
    flat = (math.prod(event_shape),)
    keys, start = rng.per_sample(jax.random.key(0), batch_size), jnp.zeros((batch_size, *flat))
    forms = {
        "jax.random": (Program(loop(of_jax, event_shape)), start.reshape(batch_size, *event_shape)),
        "rng": (Program(loop(of_rng, flat)), start),
    }
    times: dict[str, list[float]] = {form: [] for form in forms}
    sums = {}
    for _ in range(rounds + 1):
        for form, (run, x) in forms.items():
            begun = time.perf_counter()
            sums[form] = jax.block_until_ready(run(keys, x))
            times[form].append(time.perf_counter() - begun)
    numbers = STEPS * start.size
    medians = {form: statistics.median(t[1:]) / numbers * 1e9 for form, t in times.items()}
    differ = abs(sums["rng"] - sums["jax.random"].reshape(start.shape)).max()
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
