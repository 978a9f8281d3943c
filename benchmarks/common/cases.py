"""The networks that the benchmarks of speed measure, and how large a load each machine gets."""

import dataclasses
from typing import Any

import jax
import numpy as np

from configs import celeba64, cifar10, digits, lsun_church128, swissroll
from fdrl_jax.experiment import builders
from fdrl_jax.methods.fdrl import FDRL
from fdrl_jax.utils import rng

CONFIGS: dict[str, Any] = {
    "toy": swissroll.get_config,
    "digits": digits.get_config,
    "cifar10": cifar10.get_config,
    "celeba64": celeba64.get_config,
    "lsun128": lsun_church128.get_config,
}


def fdrl(experiment: builders.Experiment) -> FDRL:
    """Return the method of an experiment, which is FDRL in all benchmarks."""
    assert isinstance(experiment.method, FDRL)
    return experiment.method


@dataclasses.dataclass(frozen=True)
class Load:
    """The size of the work that is measured.

    Attributes:
      batch_size: number of particles.
      num_steps: number of flow steps K, in training and in sampling.
      images: number of images that the prior is fitted to and the data pipeline reads.
      rank: rank of the Gaussian prior; 0 is the exact prior.
    """

    batch_size: int
    num_steps: int
    images: int
    rank: int = 0


# Chosen so that the whole table takes ten minutes on two CPU cores. The paper's batch is 64 (1024 for the toy network)
# and its K is 100 (200 for the toy network); digits have K = 10.
CPU = {
    "toy": Load(1024, 200, 0),
    "digits": Load(64, 10, 1500),
    "cifar10": Load(8, 10, 4000),
    "celeba64": Load(8, 10, 1000, rank=256),
    "lsun128": Load(4, 10, 500, rank=128),
}
# The paper's loads, except for the priors at 64 and 128 pixels, which are of low rank here: fitting LSUN's exact prior
# takes half an hour on the host (`benchmarks.speed.prior`).
ACCELERATOR = {
    "toy": Load(1024, 200, 0),
    "digits": Load(64, 10, 1500),
    "cifar10": Load(64, 100, 8000),
    "celeba64": Load(64, 100, 4000, rank=256),
    "lsun128": Load(64, 100, 1000, rank=128),
}
SMOKE = {name: Load(4, 2, 0 if name == "toy" else 16, 0 if name in ("toy", "digits") else 4) for name in CONFIGS}

# The networks of `--smoke`: the code paths of the paper's networks (Table 3) at a size that compiles in seconds.
SMOKE_MODELS: dict[str, dict[str, Any]] = {
    "toy": {"width": (8, 8)},
    **{name: {"stem": 4, "stages": ((4, 1, 2), (8, 1, 2))} for name in CONFIGS if name != "toy"},
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One network with its load and its inputs.

    Attributes:
      name: the network's name in the table.
      experiment: the experiment of its config, with the load's batch size and number of steps.
      load: the size of the work.
    """

    name: str
    experiment: builders.Experiment
    load: Load

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.experiment.event_shape

    @property
    def model(self) -> dict[str, Any]:
        return self.experiment.config["model"]

    def noiseless(self) -> "Case":
        """Return this case with nu = 0 and no noise on the data, so that results can be compared."""
        return self.with_recipe(noise=0.0, dequantize_sigma=0.0)

    def with_recipe(self, **changes: Any) -> "Case":
        """Return this case with other values of fields of `Recipe`."""
        method = fdrl(self.experiment)
        changed = dataclasses.replace(method, recipe=dataclasses.replace(method.recipe, **changes))
        return dataclasses.replace(self, experiment=dataclasses.replace(self.experiment, method=changed))

    def particles(self) -> jax.Array:
        """Return the particles that the flow starts from, float32 [batch, *event]."""
        keys = rng.per_sample(jax.random.key(1), self.load.batch_size)
        if not self.experiment.is_image:
            return rng.normal(keys, self.event_shape)
        return rng.uniform(keys, self.event_shape, -1.0, 1.0)

    def batch(self) -> np.ndarray:
        """Return a batch of random data: uint8 images or float32 points in [-1, 1], [batch, *event]."""
        generator = np.random.default_rng(2)
        shape = (self.load.batch_size, *self.event_shape)
        if self.experiment.is_image:
            return generator.integers(0, 256, shape, dtype=np.uint8)
        return generator.uniform(-1, 1, shape).astype(np.float32)


def case(name: str, load: Load, precision: str = "float32", small: bool = False) -> Case:
    """Return the case of the network `name` of `CONFIGS`.

    Args:
      name: a key of `CONFIGS`.
      load: the size of the work.
      precision: "float32" or "bf16".
      small: use the tiny network of `SMOKE_MODELS` and 8 x 8 images.
    """
    config = CONFIGS[name]()
    config.precision = precision
    config.data.batch_size = load.batch_size
    config.flow.num_steps = load.num_steps
    config.flow.kappa = 0
    if small:
        config.model.update(SMOKE_MODELS[name])
        if "image_size" in config.data:
            config.data.image_size = 8
            config.data.update({"transform": "resize:8x8"} if config.data.get("transform") else {})
    return Case(name, builders.build(config), load)
