"""What a run will cost, before anything is spent: `--mode=plan`."""

import dataclasses
import math
import shutil
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from fdrl_jax import builders, rng, sampling, schema, sharding, steps
from fdrl_jax.models import conv
from fdrl_jax.types import InputError

# Training images in the published sets, for a plan made before they are fetched.
PUBLISHED = {
    ("cifar10", "train"): 50_000,
    ("celeba", "train"): 162_770,
    ("lsun", None): 126_227,
    ("idx", "train"): 60_000,
}

FID_SAMPLES = 50_000

# The rate is measured with at most so many images at a time: enough to fill a device, and soon done on a CPU.
_MEASURED_BATCH = 16
# In one step alone what is made ready for the flow would count as much as the step.
_MEASURED_STEPS = 5


@dataclass(frozen=True)
class Plan:
    """Costs of one experiment. FLOPs are XLA's count for the compiled program; bytes are on each device.

    Convolutions are counted as direct ones, also where a CPU has better (`models.conv.direct`).

    Attributes:
      num_steps: training steps.
      flow_steps: K.
      batch_size: of training.
      parameters: of the network.
      flops_per_flow_step: of one step of Eq. 9 for a batch.
      flops_per_step: of one training step, on all devices: K flow steps, the prior's draw, the loss, its gradient and
        Adam.
      flops_per_sample: of one sample of Algorithm 2, without the prior's draw.
      state_bytes: parameters, EMA, Adam's moments, spectral norm.
      workspace_bytes: what the compiled training step needs besides its arguments: the flow's and the gradient's
        activations. XLA's count for this backend.
      prior_bytes: of the prior's arrays.
      prior_placement: where they go; see `builders.place_prior`.
      images: how many there are to prepare, or None where the data is not read from files.
      images_found: whether they were counted on disk; else they are the published number, or 0 where none is known.
      cache_bytes: of the prepared images on disk.
      cache_free_bytes: free there.
    """

    num_steps: int
    flow_steps: int
    batch_size: int
    parameters: int
    flops_per_flow_step: float
    flops_per_step: float
    flops_per_sample: float
    state_bytes: int
    workspace_bytes: int
    prior_bytes: int
    prior_placement: str
    images: int | None
    images_found: bool
    cache_bytes: int
    cache_free_bytes: int

    @property
    def flops_per_run(self) -> float:
        return self.num_steps * self.flops_per_step

    def lines(self, flops_rate: float, rate_is_from: str) -> list[str]:
        """For a user to read.

        Args:
          flops_rate: FLOP/s that the device reaches.
          rate_is_from: where that number comes from.
        """

        def size_of(count: int) -> str:
            return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:.2f} MiB"

        hours = self.flops_per_run / flops_rate / 3600
        sampling_hours = FID_SAMPLES * self.flops_per_sample / flops_rate / 3600
        lines = [
            f"parameters      {self.parameters:,}",
            f"FLOPs           {self.flops_per_flow_step / 1e9:,.4g} GFLOP a flow step of {self.batch_size}; "
            f"{self.flops_per_step / 1e12:,.4g} TFLOP a training step (K = {self.flow_steps}); "
            f"{self.flops_per_run / 1e15:,.4g} PFLOP the run of {self.num_steps:,} steps",
            f"memory          {size_of(self.state_bytes)} weights, EMA and Adam; {size_of(self.workspace_bytes)} flow "
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
    config = experiment.config
    batch_size, num_steps = config["data"]["batch_size"], experiment.recipe.num_steps
    state, prior, root = sampling.abstract_state(experiment), builders.blank_prior(experiment), _abstract_key()
    is_image, mesh = experiment.is_image, sharding.mesh()
    steps.check_batch("config.data.batch_size", experiment.recipe, batch_size, mesh)
    batch = jax.ShapeDtypeStruct((batch_size, *experiment.event_shape), jnp.uint8 if is_image else jnp.float32)

    def train_step(recipe: steps.Recipe) -> jax.stages.Compiled:
        return steps.compiled_train_step(recipe, experiment.optimizer, state, prior, root, batch, mesh)

    # XLA counts what one device does, and the body of a loop once, however often it runs: so of one flow step.
    with conv.direct():
        flow_flops = _flops(_flow_step(experiment, batch_size))
        step_flops = _flops(train_step(dataclasses.replace(experiment.recipe, num_steps=min(num_steps, 1))))
    flows = num_steps - 1 if config["flow"]["guided"] and num_steps else 0
    images, found, cache_bytes, free = _cache(experiment)
    prior_bytes, memory = _bytes(prior), train_step(experiment.recipe).memory_analysis()
    return Plan(
        num_steps=config["train"]["num_steps"],
        flow_steps=num_steps,
        batch_size=batch_size,
        parameters=sum(math.prod(x.shape) for x in jax.tree.leaves(state.params)),
        flops_per_flow_step=flow_flops,
        flops_per_step=step_flops * mesh.size + flows * flow_flops,
        flops_per_sample=experiment.flow_length() * flow_flops / batch_size,
        state_bytes=_bytes(state),
        workspace_bytes=memory.temp_size_in_bytes if memory is not None else 0,
        prior_bytes=prior_bytes,
        prior_placement=builders.prior_placement(prior_bytes),
        images=images,
        images_found=found,
        cache_bytes=cache_bytes,
        cache_free_bytes=free,
    )


def measured_rate(config: schema.Config, rounds: int = 3) -> float:
    """FLOP/s of the flow on this machine's first device: the best of `rounds` short flows, of a network at its start.

    As `Plan` counts FLOPs, whatever the machine multiplies.
    """
    experiment = builders.build(config)
    batch_size = min(experiment.config["data"]["batch_size"], _MEASURED_BATCH)
    short_flow = _flow_step(experiment, batch_size, _MEASURED_STEPS)
    state = sampling.initial_state(experiment)
    params = experiment.recipe.estimator.effective(state.params, state.spectral)
    root = jax.random.key(0)
    seconds = []
    for _ in range(rounds + 1):
        x = rng.uniform(rng.per_sample(root, batch_size), experiment.event_shape, -1.0, 1.0)
        start = time.perf_counter()
        jax.block_until_ready(short_flow(params, root, jax.block_until_ready(x), jnp.asarray(0), jnp.asarray(0)))
        seconds.append(time.perf_counter() - start)
    with conv.direct():
        return _MEASURED_STEPS * _flops(_flow_step(experiment, batch_size)) / min(seconds[1:])


def _flow_step(experiment: builders.Experiment, batch_size: int, num_steps: int = 1) -> jax.stages.Compiled:
    x = jax.ShapeDtypeStruct((batch_size, *experiment.event_shape), jnp.float32)
    first = jax.ShapeDtypeStruct((), jnp.int32)
    params = sampling.abstract_state(experiment).params
    return steps.advance.lower(experiment.recipe, params, _abstract_key(), x, first, first, num_steps).compile()


def _abstract_key() -> jax.ShapeDtypeStruct:
    return jax.eval_shape(lambda: jax.random.key(0))


def _flops(compiled: jax.stages.Compiled) -> float:
    return float((compiled.cost_analysis() or {})["flops"])


def _bytes(tree: PyTree) -> int:
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _cache(experiment: builders.Experiment) -> tuple[int | None, bool, int, int]:
    """How many training images, whether they were found, bytes of all caches, bytes free there."""
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
