"""Sampling from a trained model (Algorithm 2 of arXiv 2303.03714): batches and progress around `steps`."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt32
from tqdm.auto import tqdm

from fdrl_jax import builders, classifiers, rng, sharding, steps
from fdrl_jax.arguments import require_examples, require_integer, require_model, root_key
from fdrl_jax.priors import Given, HostGaussian, Prior
from fdrl_jax.state import create_state
from fdrl_jax.types import InputError, Params, Particles

# On each device. Enough to fill two CPU cores or to keep an accelerator busy; small enough for a notebook's memory.
DEFAULT_BATCH_SIZE = 256


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained ratio with its flow and prior.

    Attributes:
      experiment: what its config describes.
      params: of the estimator, EMA unless asked otherwise.
      prior: q', where the flow starts.
      step: how many training steps the parameters have seen.
    """

    experiment: builders.Experiment
    params: Params = dataclasses.field(repr=False)
    prior: Prior | HostGaussian | Given = dataclasses.field(repr=False)
    step: int

    def ratio_fn(self, x: Array | np.ndarray) -> Float[Array, " batch"]:
        """The density ratio r(x) = q~(x) / p(x).

        Args:
          x: float [batch, *event], images in [-1, 1]; nested lists will do.

        Raises:
          InputError: x has another shape or dtype, or values that are not finite.
        """
        x = require_examples("x", x, self.experiment.event_shape)
        return steps.ratios(self.experiment.recipe, self.params, jnp.asarray(x))


def trained(
    experiment: builders.Experiment, state: steps.TrainState, prior: Prior | HostGaussian, ema: bool = True
) -> Model:
    """The model of a train state. Spectral norm is applied here, once: (u, v) stay as training left them."""
    weights = experiment.recipe.estimator.effective(state.ema_params if ema else state.params, state.spectral)
    return Model(experiment, weights, prior, int(state.step))


def initial_state(experiment: builders.Experiment) -> steps.TrainState:
    """The train state before the first step, a function of the config's seed."""
    root = jax.random.key(experiment.config["seed"])
    estimator = experiment.recipe.estimator
    params = estimator.init(rng.stream(root, "init"))
    spectral = estimator.init_spectral(rng.stream(root, "spectral"), params)
    return create_state(params, experiment.optimizer, spectral)


def abstract_state(experiment: builders.Experiment) -> steps.TrainState:
    """Shapes and dtypes of the train state."""
    return jax.eval_shape(lambda: initial_state(experiment))


def sample(
    model: Model,
    key: Key[Array, ""] | UInt32[Array | np.ndarray, "2"] | int,
    num_samples: int,
    num_steps: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
    *,
    label: int | Sequence[int] | np.ndarray | None = None,
    classifier: classifiers.AnyClassifier | None = None,
    scale: float = 0.1,
    candidates: int = 1,
) -> Float[np.ndarray, "num_samples *event"]:
    """Draw from the prior, flow with the model's parameters, clip images to [-1, 1].

    Sample i is the same for any `num_samples` and, up to rounding, any `batch_size`. With a label it is one of that
    class: see `compose.class_conditional`.

    Args:
      model: from `loading.load`.
      key: `jax.random.key(0)` or the older `jax.random.PRNGKey(0)`, or the integer to make one from.
      num_samples: how many.
      num_steps: length of the flow; K + kappa by default.
      batch_size: how many are flowed at a time, on all devices together, 256 on each by default; memory grows with it.
      progress: show a progress bar.
      label: the class of all samples, or one for each; None for samples of any.
      classifier: what knows the classes: from `load_classifier`, the path of one, or any function in jax.numpy from
        images in [-1, 1] to logits [batch, classes].
      scale: phi, at most 1000; with 0 the classifier has no say in the flow.
      candidates: of so many prior draws, each sample starts from the one that the classifier thinks likeliest of its
        class. Not in the paper, which has 1; 64 gives more samples of the class, and better ones (README), for 64
        passes of the classifier.

    Returns:
      float32 [num_samples, H, W, C] in [-1, 1] for images, [num_samples, D] for points.

    Raises:
      InputError: an argument is out of range, or the scale so large that the flow diverges.
    """
    require_model(model)
    require_integer("num_samples", num_samples, 1)
    condition = None
    if label is None and classifier is None and (scale, candidates) != (classifiers.DEFAULT_SCALE, 1):
        raise InputError(f"scale = {scale!r} and candidates = {candidates!r} are of a class: give label and classifier")
    if label is not None or classifier is not None:
        shape = model.experiment.event_shape
        condition = classifiers.condition(classifier, label, scale, num_samples, shape, candidates)
    # Here, as a generator runs only when the first batch is asked for; last, as it makes a key.
    arguments = _arguments(model, key, num_samples, num_steps, batch_size)
    return np.concatenate(list(batches(model, *arguments, progress, condition)))


def batches(
    model: Model,
    key: Key[Array, ""] | UInt32[Array | np.ndarray, "2"] | int,
    num_samples: int,
    num_steps: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
    condition: classifiers.Condition | None = None,
) -> Iterator[Float[np.ndarray, "batch *event"]]:
    """`sample`, a batch at a time and the last one shorter, for more samples than memory holds.

    `condition` has the classes of all samples; see `classifiers.condition`.
    """
    root, num_samples, num_steps, batch_size = _arguments(model, key, num_samples, num_steps, batch_size)
    everywhere = sharding.same(root)
    # The flow is cut into pieces of one size (one compilation), to move the bar. Not into single steps: each piece
    # prepares the kernels anew, which took CIFAR's network 15% of a step.
    piece = sharding.largest_divisor(num_steps, at_most=max(10, num_steps // 10))
    recipe = model.experiment.recipe
    bar = tqdm(
        total=num_samples * num_steps, desc="sample", unit="flow step", unit_scale=True, disable=_hidden(progress)
    )
    with bar:
        for first in range(0, num_samples, batch_size):
            # The last batch is computed whole (one compilation) and cut.
            index, count = _number(first), min(batch_size, num_samples - first)
            x, change = _start(model, root, first, batch_size, condition), _change(model, condition, first, batch_size)
            for k in range(0, num_steps, piece):
                x = steps.advance(recipe, model.params, everywhere, x, index, _number(k), piece, **change)
                jax.block_until_ready(x)  # Or the bar would show what was asked for, not what is done.
                bar.update(piece * count)
            yield _finished(model, sharding.fetch(x)[:count], condition)


def trajectory(
    model: Model,
    key: Key[Array, ""] | UInt32[Array | np.ndarray, "2"] | int,
    num_samples: int,
    every: int,
    num_steps: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
    condition: classifiers.Condition | None = None,
) -> tuple[np.ndarray, Float[np.ndarray, "time num_samples *event"]]:
    """`sample`, keeping the prior draw, every `every`-th state and the last, which is the sample.

    `condition` has the classes of the samples; see `classifiers.condition`.

    Returns:
      Step counts [time] and float32 states, images clipped to [-1, 1] at every time.

    Raises:
      InputError: an argument is out of range.
    """
    require_integer("every", every, 1)
    root, num_samples, num_steps, batch_size = _arguments(model, key, num_samples, num_steps, batch_size)
    every = min(every, max(num_steps, 1))
    step_counts = np.array([*range(0, num_steps, every), num_steps])
    bar = tqdm(total=num_samples, desc="sample", disable=_hidden(progress))
    recipe, everywhere, parts = model.experiment.recipe, sharding.same(root), []
    with bar:
        for first in range(0, num_samples, batch_size):
            index, count = _number(first), min(batch_size, num_samples - first)
            x = _start(model, root, first, batch_size, condition)
            change = _change(model, condition, first, batch_size)
            states = steps.record(recipe, model.params, everywhere, x, index, num_steps, every, **change)
            parts.append(sharding.fetch(states)[:, :count])
            bar.update(count)
    return step_counts, _finished(model, np.concatenate(parts, axis=1), condition)


def states_at(
    model: Model,
    key: Key[Array, ""] | UInt32[Array | np.ndarray, "2"] | int,
    num_samples: int,
    lengths: Sequence[int],
    batch_size: int | None = None,
    progress: bool = True,
) -> Iterator[tuple[int, Float[np.ndarray, "num_samples *event"]]]:
    """`sample` at several lengths of the flow, from one flow of each sample: (length, samples) for each length.

    Only the current state of the samples is kept, however many lengths there are.

    Args:
      lengths: flow steps, increasing; the others are as in `sample`.

    Raises:
      InputError: an argument is out of range.
    """
    if not lengths or list(lengths) != sorted(set(lengths)):
        raise InputError(f"lengths = {list(lengths)} must be increasing numbers of steps, at least one")
    require_integer("lengths", lengths[0], 0)
    root, num_samples, last, batch_size = _arguments(model, key, num_samples, lengths[-1], batch_size)
    recipe, firsts = model.experiment.recipe, range(0, num_samples, batch_size)
    bar = tqdm(total=num_samples * last, desc="flow", unit="flow step", unit_scale=True, disable=_hidden(progress))
    with bar:
        draws = (steps.draw_prior(model.prior, root, _number(first), batch_size) for first in firsts)
        states, everywhere = [sharding.fetch(x) for x in draws], sharding.same(root)
        done = 0
        for length in lengths:
            for i, first in enumerate(firsts if length > done else ()):
                # Copied: `advance` takes its memory, and a device may share that of the host's array.
                x, index, k = sharding.split(states[i].copy()), _number(first), _number(done)
                states[i] = sharding.fetch(steps.advance(recipe, model.params, everywhere, x, index, k, length - done))
                bar.update((length - done) * min(batch_size, num_samples - first))
            done = length
            # Copied: the receiver may keep or change it.
            samples = np.concatenate(states)[:num_samples]
            yield length, _finished(model, samples, None)


def _start(
    model: Model, root: Key[Array, ""], first: int, count: int, condition: classifiers.Condition | None
) -> Particles:
    """Prior draws of samples first, first + 1, ...; with a class, the likeliest of it of each sample's candidates."""

    def draw(candidate: int) -> Particles:
        # The first is the draw of sampling without a class.
        key = rng.stream(root, "candidate", candidate) if candidate else root
        return steps.draw_prior(model.prior, key, _number(first), count)

    return draw(0) if condition is None else condition.start(draw, first, count)


def _change(model: Model, condition: classifiers.Condition | None, first: int, count: int) -> dict[str, Any]:
    """Arguments of `steps.advance` that make the flow one of the classes of samples first, first + 1, ..."""
    if condition is None:
        return {}
    change = condition.change(model.experiment.recipe.estimator.parameterisation, first, count)
    return {**change, "arguments": sharding.same(change["arguments"])}


def _hidden(progress: bool) -> bool:
    """Of several processes one shows a bar."""
    return not (progress and sharding.is_first_host())


def _number(n: int) -> Array:
    """An index as an argument of a compiled function."""
    return sharding.same(jnp.asarray(n))


def _finished(
    model: Model, states: Float[np.ndarray, "..."], condition: classifiers.Condition | None
) -> Float[np.ndarray, "..."]:
    """Images clipped to [-1, 1] (Algorithm 2)."""
    if condition is not None and not np.isfinite(states).all():
        raise InputError(
            f"with scale = {condition.scale:g} the flow to the class diverged: use a smaller scale, or a classifier "
            "that is less sure of itself"
        )
    return np.clip(states, -1, 1) if model.experiment.is_image else states


def _arguments(
    model: Model, key: Any, num_samples: Any, num_steps: Any, batch_size: Any
) -> tuple[Key[Array, ""], int, int, int]:
    """Check and complete the arguments of `sample`."""
    require_model(model)
    require_integer("num_samples", num_samples, 1)
    if num_steps is None:
        num_steps = model.experiment.flow_length()
    require_integer("num_steps", num_steps, 0)
    on = sharding.mesh()
    if batch_size is None:
        batch_size = DEFAULT_BATCH_SIZE * on.size
    require_integer("batch_size", batch_size, 1)
    # Rounded up, so that every device has as many.
    return root_key(key), int(num_samples), int(num_steps), sharding.rounded_up(int(min(batch_size, num_samples)), on)
