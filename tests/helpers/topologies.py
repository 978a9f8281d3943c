"""Run by test_sharding.py in a process with 8 simulated devices: trainings on 1, 2, 4 and 8 of them, into an .npz.

python topologies.py OUT
"""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fdrl_jax import models, priors
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.losses import LOSSES
from fdrl_jax.methods import fdrl_train_step, prior_draws, train_state
from fdrl_jax.utils import sharding

COUNTS = (1, 2, 4, 8)
STEPS = 20
BATCH = 16
ROOT = jax.random.key(3)
SHAPE = (4, 4, 1)
COLLECTIVE = re.compile(r"= \S+ (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)\w*(?:-start)?\(")

NETWORKS = {
    "normed": models.estimator(models.ResNet(8, (models.Stage(8, 1, 2),), 1.0), SHAPE, "ratio", "float32", True),
    "mlp": models.estimator(models.MLP((16,), 1.0), SHAPE, "ratio"),
}
OPTIMIZERS = {"sgd": optax.sgd(0.05), "adam": train_state.adam(optax.constant_schedule(1e-3), 0.9, 0.999)}


def recipe(network: str, **changes) -> fdrl_train_step.Recipe:
    f_prime = DIVERGENCES["chi2"].output_derivative("ratio")
    settings = {"num_steps": 4, "step_size": 0.5, "noise": 0.05, "guided": True, "dequantize_sigma": 0.03}
    settings |= {"loss": LOSSES["lsif"], "ema_decay": 0.9} | changes
    return fdrl_train_step.Recipe(NETWORKS[network], f_prime, **settings)


def batch(step: int) -> np.ndarray:
    return np.random.default_rng(step).integers(0, 256, (BATCH, *SHAPE), dtype=np.uint8)


def start(train: fdrl_train_step.Recipe, optimizer: optax.GradientTransformation) -> train_state.TrainState:
    params = train.estimator.init(jax.random.key(0))
    return train_state.create_state(params, optimizer, train.estimator.init_spectral(jax.random.key(1), params))


def gaussian(seed: int = 0) -> priors.Gaussian:
    generator = np.random.default_rng(seed)
    factor = np.tril(generator.standard_normal((16, 16), np.float32)) / 8
    return priors.Gaussian(np.zeros(SHAPE, np.float32), factor, 1.0)


def low_rank() -> priors.LowRankGaussian:
    exact = gaussian()
    return priors.LowRankGaussian(exact.mean, np.asarray(exact.factor)[:, :8].copy(), np.full(SHAPE, 0.1, np.float32))


PRIORS = {
    "exact": lambda on: priors.place(gaussian(), list(on.devices.flat)),
    "spread": lambda on: priors.place(gaussian(), list(on.devices.flat), memory=1024 * 3 // on.size),
    "low_rank": lambda on: priors.place(low_rank(), list(on.devices.flat)),
    "host": lambda on: priors.HostGaussian(gaussian().mean, gaussian().factor),
    "uniform": lambda on: priors.Uniform(SHAPE),
    "empirical": lambda on: sharding.replicate(priors.Empirical(batch(99), 0.03, True), on),
    "generated": lambda on: sharding.replicate(
        priors.GeneratorPrior(np.eye(16, dtype=np.float32), decode, (16,), SHAPE, 0.1), on
    ),
}  # fmt: skip


def decode(params, z):
    return jnp.tanh(z @ params).reshape(-1, *SHAPE)


def train(
    count: int, made: fdrl_train_step.Recipe, optimizer: optax.GradientTransformation, prior: str, num_steps: int
) -> tuple[dict[str, np.ndarray], train_state.TrainState]:
    """Metrics by step, and the state after `num_steps` steps on `count` devices; compiled once, nothing is sent."""
    on = sharding.mesh(jax.devices()[:count])
    train_step = fdrl_train_step.make_train_step(made, optimizer, on)
    current, root = sharding.replicate((start(made, optimizer), ROOT), on)
    source, rows = PRIORS[prior](on), []
    for step in range(num_steps):
        now = prior_draws.prior_of_step(source, ROOT, step, BATCH, on)
        images = sharding.assemble_by_sample(batch(step), BATCH, on)
        with jax.transfer_guard("disallow"):
            current, metrics = train_step(current, now, root, images)
        rows.append(metrics)
    assert train_step.num_compiled() == 1, train_step.num_compiled()
    return by_name(rows), jax.device_get(current)


def by_name(rows: list[dict[str, jax.Array]]) -> dict[str, np.ndarray]:
    rows = jax.device_get(rows)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def inspected(count: int, prior: str) -> tuple[jax.stages.Compiled, dict[str, np.ndarray], train_state.TrainState]:
    """The compiled step, to look at, and what two steps by it give."""
    on, made, optimizer = sharding.mesh(jax.devices()[:count]), recipe("mlp"), OPTIMIZERS["sgd"]
    train_step = fdrl_train_step.make_train_step(made, optimizer, on)
    current, root = sharding.replicate((start(made, optimizer), ROOT), on)
    source, rows = PRIORS[prior](on), []
    given = [
        (
            prior_draws.prior_of_step(source, ROOT, step, BATCH, on),
            root,
            sharding.assemble_by_sample(batch(step), BATCH, on),
        )
        for step in range(2)
    ]
    compiled = train_step.lower(current, *given[0]).compile()
    for arguments in given:
        current, metrics = compiled(current, *arguments)
        rows.append(metrics)
    return compiled, by_name(rows), jax.device_get(current)


def main(out: str) -> None:
    assert jax.device_count() == 8
    found = {}

    def keep(name, metrics, current):
        found.update({f"{name}/{key}": values for key, values in metrics.items() if key in ("loss", "max_flow")})
        for path, leaf in jax.tree_util.tree_leaves_with_path((current.params, current.ema_params, current.spectral)):
            found[f"{name}{jax.tree_util.keystr(path)}"] = leaf

    for count in COUNTS:
        for name, optimizer in OPTIMIZERS.items():
            for network in ("mlp", "normed") if count in (1, 8) else ("mlp",):
                keep(f"{count}/{network}-{name}", *train(count, recipe(network), optimizer, "exact", STEPS))
    for count in (1, 4):
        for prior in PRIORS:
            compiled, *result = inspected(count, prior)
            keep(f"{count}/{prior}", *result)
            found[f"{count}/flops/{prior}"] = np.array(compiled.cost_analysis()["flops"])
            lines = compiled.as_text().splitlines()
            found[f"{count}/collectives/{prior}"] = np.array(
                [line.strip() for line in lines if COLLECTIVE.search(line)]
            )
        keep(f"{count}/microbatch", *train(count, recipe("mlp", microbatch=2), OPTIMIZERS["sgd"], "exact", 2))
    np.savez(out, **found)


if __name__ == "__main__":
    main(sys.argv[1])
