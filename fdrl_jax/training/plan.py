"""The costs of a run before it starts (`--mode=plan`): parameters, FLOPs, memory, disk and time."""

import math
import shutil
from dataclasses import dataclass

import jax

from fdrl_jax.experiment import builders, schema
from fdrl_jax.experiment.model import abstract_state
from fdrl_jax.methods.base import Costs
from fdrl_jax.training.parameter_table import parameter_table
from fdrl_jax.types import InputError
from fdrl_jax.utils import sharding

# Numbers of training images in the published sets, for a plan made before they are downloaded.
PUBLISHED = {
    ("cifar10", "train"): 50_000,
    ("celeba", "train"): 162_770,
    ("lsun", None): 126_227,
    ("idx", "train"): 60_000,
}

FID_SAMPLES = 50_000


@dataclass(frozen=True)
class Plan:
    """Costs of one experiment: of its method, its prior and its data. Bytes are those of one device.

    Attributes:
      costs: costs of the method, by XLA's count for the compiled programs.
      parameter_table: the trained parameters, one in a line.
      num_steps: training steps.
      batch_size: of training.
      prior_bytes: size of the prior's arrays.
      prior_placement: where they go; see `builders.place_prior`.
      images: number of images to prepare, or None where the data is not read from files.
      images_found: True if they were counted on disk; otherwise `images` is the published number, or 0 where none is
        known.
      cache_bytes: size of the prepared images on disk.
      cache_free_bytes: free space there.
    """

    costs: Costs
    parameter_table: str
    num_steps: int
    batch_size: int
    prior_bytes: int
    prior_placement: str
    images: int | None
    images_found: bool
    cache_bytes: int
    cache_free_bytes: int

    @property
    def flops_per_run(self) -> float:
        return self.num_steps * self.costs.flops_per_step

    def lines(self, flops_rate: float, rate_is_from: str) -> list[str]:
        """The plan in lines for a user to read.

        Args:
          flops_rate: speed of the device in FLOP/s.
          rate_is_from: source of that number.
        """

        def size_of(count: int) -> str:
            return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:.2f} MiB"

        costs = self.costs
        hours = self.flops_per_run / flops_rate / 3600
        sampling_hours = FID_SAMPLES * costs.flops_per_sample / flops_rate / 3600
        lines = [
            self.parameter_table,
            f"parameters      {costs.parameters:,}",
            f"FLOPs           {costs.flops_per_flow_step / 1e9:,.4g} GFLOP a flow step of {self.batch_size}; "
            f"{costs.flops_per_step / 1e12:,.4g} TFLOP a training step (K = {costs.flow_steps}); "
            f"{self.flops_per_run / 1e15:,.4g} PFLOP the run of {self.num_steps:,} steps",
            f"memory          {size_of(costs.state_bytes)} train state; {size_of(costs.workspace_bytes)} flow "
            f"and gradient; {size_of(self.prior_bytes)} prior, {self.prior_placement}; on each device",
        ]
        if self.images:
            counted = "found" if self.images_found else "published; not here yet"
            lines.append(
                f"images          {self.images:,} ({counted}); cache {size_of(self.cache_bytes)}, "
                f"{size_of(self.cache_free_bytes)} free on that disk"
            )
        elif self.images is not None:
            lines.append("images          not here yet, and how many there are is not known: no size of their cache")
        return [
            *lines,
            f"time            {hours:,.3g} h to train, {sampling_hours:,.3g} h for {FID_SAMPLES:,} samples, at "
            f"{flops_rate / 1e12:,.3g} TFLOP/s ({rate_is_from})",
        ]


def plan(config: schema.Config) -> Plan:
    """Compile what `config` would run, and run none of it.

    Raises:
      InputError: the config is wrong.
    """
    experiment = builders.build(config)
    config, mesh = experiment.config, sharding.mesh()
    batch_size = config["data"]["batch_size"]
    experiment.method.check_batch("config.data.batch_size", batch_size, mesh)
    prior = builders.blank_prior(experiment)
    prior_bytes = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(prior))
    images, found, cache_bytes, free = _cache(experiment)
    return Plan(
        costs=experiment.method.costs(prior, batch_size, mesh),
        parameter_table=parameter_table(experiment.method.trained_parameters(abstract_state(experiment))),
        num_steps=config["train"]["num_steps"],
        batch_size=batch_size,
        prior_bytes=prior_bytes,
        prior_placement=builders.prior_placement(prior_bytes),
        images=images,
        images_found=found,
        cache_bytes=cache_bytes,
        cache_free_bytes=free,
    )


def measured_rate(config: schema.Config, rounds: int = 3) -> float:
    """FLOP/s of the method on this machine's first device, best of `rounds`; FLOPs as `Plan` counts them."""
    experiment = builders.build(config)
    return experiment.method.measure_rate(experiment.config["data"]["batch_size"], rounds)


def _cache(experiment: builders.Experiment) -> tuple[int | None, bool, int, int]:
    """The number of training images, True if they are on disk, the bytes of all caches, and the bytes free there."""
    config = experiment.config["data"]
    if "path" not in config:
        return None, False, 0, 0
    root = builders.cache_root(config).absolute()
    free = shutil.disk_usage(next(path for path in (root, *root.parents) if path.exists())).free
    try:
        sources = builders.sources(experiment)
        return len(sources[0].reader), True, sum(source.num_bytes for source in sources), free
    except InputError:
        first, n = map(int, config["part"].split("/"))
        images = len(range(first, PUBLISHED.get((config["name"], config.get("split")), 0), n))
        return images, False, images * math.prod(experiment.event_shape), free
