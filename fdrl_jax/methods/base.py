"""The interface of a method: what is trained, by which step, and how its trained state makes samples.

The training loop, the plan of costs, sampling, figures, reports and export know a method by this interface alone. They
know no ratio, no generator and no pool of particles. A new method is a file beside `fdrl.py` with a class of this form,
and a branch in `experiment.builders`. The planned methods fit as follows.

FDRL: the state has the ratio's parameters, their EMA and Adam's moments; a sample starts at a draw of the prior and
takes K + kappa steps of the ratio's flow.

VGrow and EPT: the state has a generator, a ratio, two optimisers and a pool of particles; a sample is the generator's
image of a prior draw, and takes no flow step, or a few to refine it. EPT without a generator keeps all its particles in
the state, and a sample starts at one of them.

One step (a Sinkhorn or drifting field, or distilled FDRL): the state has a generator, its EMA and its optimiser; a
sample is one pass of the generator.

So a one-step generator is a method whose `start` is one pass of the network, whose `flow_length` is 0, and whose
`parameterisation` is None because it learns no ratio.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import jax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key, PyTree, UInt8

from fdrl_jax.priors import FixedImages, HostGaussian, Prior
from fdrl_jax.types import Output, Parameterisation, Particles, RatioFn
from fdrl_jax.utils.compilation import Program

# A pytree of arrays with a field `step`, the number of updates so far. A checkpoint keeps exactly this.
State: TypeAlias = Any

Batch = Float[Array, "batch *event"] | UInt8[Array, "batch *event"]

# A change of the ratio function during sampling, such as `compose.class_conditional`: (ratio function, arrays) -> ratio
# function. It is static in compiled calls, so it must be hashable and equal from call to call; the arrays may change.
RatioTransform = Callable[[RatioFn, Any], RatioFn]

# The number that a line of the log has for a metric: its mean over the steps since the line before, or its maximum.
Reduction: TypeAlias = Literal["mean", "max"]


@dataclass(frozen=True)
class Costs:
    """Costs of a method, counted by XLA for the compiled programs. Bytes are those of one device.

    Attributes:
      parameters: number of trained numbers.
      flow_steps: flow steps within one training step.
      flops_per_flow_step: FLOPs of one flow step of a training batch; 0 without a flow.
      flops_per_step: FLOPs of one training step on all devices together.
      flops_per_sample: FLOPs of one sample, without the prior's draw.
      state_bytes: size of the train state.
      workspace_bytes: memory that the compiled training step needs besides its arguments: activations and buffers.
    """

    parameters: int
    flow_steps: int
    flops_per_flow_step: float
    flops_per_step: float
    flops_per_sample: float
    state_bytes: int
    workspace_bytes: int


@runtime_checkable
class Method(Protocol):
    """A method with all its settings: hashable, equal to itself alone, and without arrays.

    Attributes:
      event_shape: shape of one example, [H, W, C] for images and [D] for points.
      parameterisation: the output of the ratio's network, r or log r; None where no ratio is trained.
      flow_length: default number of flow steps of a sample (K + kappa for FDRL).
      reductions: the metrics of a training step, and how those of several steps become one number. Among them must be
        `loss` and `grad_norm`, and there may be `max_flow`, the largest |x| of a particle: `training.stability` watches
        these three.
    """

    @property
    def event_shape(self) -> tuple[int, ...]: ...

    @property
    def parameterisation(self) -> Parameterisation | None: ...

    @property
    def flow_length(self) -> int: ...

    @property
    def reductions(self) -> Mapping[str, Reduction]: ...

    # --- training ---

    def init(self, root: Key[Array, ""]) -> State:
        """The state before the first step, a function of the root key."""
        ...

    def check_batch(self, what: str, count: int, mesh: Mesh) -> None:
        """Refuse a training batch of `count` examples, named `what`, that the devices of `mesh` cannot train on.

        Raises:
          InputError: with the sizes that would do.
        """
        ...

    def make_train_step(self, mesh: Mesh | None = None) -> Program:
        """The compiled training step `(state, prior, root, batch) -> (state, metrics)`; it donates the state.

        Metrics are float32 scalars by the names of `reductions`.
        """
        ...

    def scale_learning_rate(self, factor: float) -> "Method":
        """The same method with `factor` times the learning rate. Its states have the same structure."""
        ...

    def learning_rate(self, step: int) -> float:
        """The learning rate of update `step`, counted from 0."""
        ...

    def progress(self, metrics: Mapping[str, float]) -> str:
        """The few numbers of a line of the log that the progress bar shows."""
        ...

    def trained_parameters(self, state: State) -> PyTree:
        """The trained parameters in a state, to count and to list."""
        ...

    def costs(self, prior: Prior, batch_size: int, mesh: Mesh) -> Costs:
        """Costs of training and sampling; programs are compiled for them and none is run.

        Args:
          prior: a prior whose arrays have the right shapes; their values do not count.
          batch_size: of training.
          mesh: the devices that share a batch.
        """
        ...

    def measure_rate(self, batch_size: int, rounds: int = 3) -> float:
        """FLOP/s that this machine's first device reaches in the method's most expensive part, best of `rounds`."""
        ...

    # --- sampling with a trained state ---

    def weights(self, state: State, ema: bool = True) -> PyTree:
        """The arrays of a state that sampling needs, and an exported model keeps: averaged ones, or online ones."""
        ...

    def ratios(self, weights: PyTree, x: Particles) -> Output:
        """r(x), float32 [batch]. Called only where `parameterisation` is not None."""
        ...

    def start(
        self, weights: PyTree, prior: Prior | HostGaussian | FixedImages, root: Key[Array, ""], first: Array, count: int
    ) -> Particles:
        """Samples first, ..., first + count - 1 of the sampling run with key `root`, before their flow."""
        ...

    def advance(
        self,
        weights: PyTree,
        root: Key[Array, ""],
        x: Particles,
        first: Array,
        first_step: Array,
        num_steps: int,
        transform: RatioTransform | None = None,
        arguments: Any = None,
    ) -> Particles:
        """`num_steps` flow steps from step `first_step` on, for samples first, first + 1, ...; donates `x`."""
        ...

    def record(
        self,
        weights: PyTree,
        root: Key[Array, ""],
        x: Particles,
        first: Array,
        num_steps: int,
        every: int,
        transform: RatioTransform | None = None,
        arguments: Any = None,
    ) -> Float[Array, "time batch *event"]:
        """The flow of `advance` from step 0, with the states that `flow.trajectory` keeps."""
        ...


def abstract_state(method: Method) -> State:
    """Shapes and dtypes of a method's train state."""
    return jax.eval_shape(lambda: method.init(jax.random.key(0)))


def abstract_weights(method: Method) -> PyTree:
    """Shapes and dtypes of a method's sampling weights."""
    return jax.eval_shape(lambda: method.weights(method.init(jax.random.key(0))))
