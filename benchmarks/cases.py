"""The networks that `python -m benchmarks` measures, each with a load for the machine."""

import dataclasses
from typing import Any

import jax
import numpy as np

from configs import celeba64, cifar10, digits, lsun_church128, swissroll
from fdrl_jax import builders, rng

CONFIGS: dict[str, Any] = {
    "toy": swissroll.get_config,
    "digits": digits.get_config,
    "cifar10": cifar10.get_config,
    "celeba64": celeba64.get_config,
    "lsun128": lsun_church128.get_config,
}


@dataclasses.dataclass(frozen=True)
class Load:
    """How much of a config is measured.

    Attributes:
      batch_size: particles.
      num_steps: of the flow, in training and in sampling.
      images: that the prior is fitted to and the data pipeline reads.
      rank: of the prior; 0 is exact.
    """

    batch_size: int
    num_steps: int
    images: int
    rank: int = 0


# On two CPU cores all of it takes ten minutes. The paper's batch is 64 (the toy's 1024), its K is 100 (200, digits 10).
CPU = {
    "toy": Load(1024, 200, 0),
    "digits": Load(64, 10, 1500),
    "cifar10": Load(8, 10, 4000),
    "celeba64": Load(8, 10, 1000, rank=256),
    "lsun128": Load(4, 10, 500, rank=128),
}
# The paper's, but for the prior of LSUN: its exact factor takes half an hour on the host (`benchmarks.prior`).
ACCELERATOR = {
    "toy": Load(1024, 200, 0),
    "digits": Load(64, 10, 1500),
    "cifar10": Load(64, 100, 8000),
    "celeba64": Load(64, 100, 4000, rank=256),
    "lsun128": Load(64, 100, 1000, rank=128),
}
SMOKE = {name: Load(4, 2, 0 if name == "toy" else 16, 0 if name in ("toy", "digits") else 4) for name in CONFIGS}

# The networks of smoke runs: the code paths of Table 3's at a size that compiles in seconds.
SMOKE_MODELS: dict[str, dict[str, Any]] = {
    "toy": {"width": (8, 8)},
    **{name: {"stem": 4, "stages": ((4, 1, 2), (8, 1, 2))} for name in CONFIGS if name != "toy"},
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One network with its load, inputs and weights; float32 and noiseless unless said otherwise.

    Attributes:
      name: in the table.
      experiment: of the config, with the load's batch and number of steps.
      load: see `Load`.
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
        """The same with nu = 0 and nothing added to the data, to compare results."""
        recipe = dataclasses.replace(self.experiment.recipe, noise=0.0, dequantize_sigma=0.0)
        return dataclasses.replace(self, experiment=dataclasses.replace(self.experiment, recipe=recipe))

    def particles(self) -> jax.Array:
        """Where the flow starts, float32 [batch, *event]."""
        keys = rng.per_sample(jax.random.key(1), self.load.batch_size)
        if not self.experiment.is_image:
            return rng.normal(keys, self.event_shape)
        return rng.uniform(keys, self.event_shape, -1.0, 1.0)

    def batch(self) -> np.ndarray:
        """Data: uint8 images or float32 points."""
        generator = np.random.default_rng(2)
        shape = (self.load.batch_size, *self.event_shape)
        if self.experiment.is_image:
            return generator.integers(0, 256, shape, dtype=np.uint8)
        return generator.uniform(-1, 1, shape).astype(np.float32)


def case(name: str, load: Load, precision: str = "float32", small: bool = False) -> Case:
    """The case `name` of `CONFIGS`; `small` has the network and the images of a smoke run."""
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
