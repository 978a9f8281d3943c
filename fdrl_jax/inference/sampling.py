"""Sampling from a trained model (Algorithm 2 of arXiv 2303.03714): the method's compiled flow, batch by batch."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt32
from tqdm.auto import tqdm

from fdrl_jax.experiment.model import Model
from fdrl_jax.inference import class_conditional
from fdrl_jax.types import InputError, Particles
from fdrl_jax.utils import rng, sharding
from fdrl_jax.utils.validation import require_integer, require_model, root_key

# Samples per device: enough to fill two CPU cores or to keep an accelerator busy, few enough for a notebook's memory.
DEFAULT_BATCH_SIZE = 256


def sample(
    model: Model,
    key: Key[Array, ""] | UInt32[Array | np.ndarray, "2"] | int,
    num_samples: int,
    num_steps: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
    *,
    label: int | Sequence[int] | np.ndarray | None = None,
    classifier: class_conditional.AnyClassifier | None = None,
    scale: float = 0.1,
    candidates: int = 1,
) -> Float[np.ndarray, "num_samples *event"]:
    """Draw from the prior, flow the draws with the model, and clip images to [-1, 1].

    Sample i is the same for every `num_samples` and, up to rounding, for every `batch_size`. With a label, the samples
    are of that class: see `compose.class_conditional`.

    Args:
      model: model that `fdrl_jax.load` or `fdrl_jax.train` returned.
      key: `jax.random.key(0)`, the older `jax.random.PRNGKey(0)`, or a seed of at least 0.
      num_samples: number of samples.
      num_steps: number of flow steps, by default K + kappa.
      batch_size: number of samples that are flowed at a time, on all devices together; by default 256 per device.
        Memory grows with it.
      progress: show a progress bar.
      label: class of all samples, or a sequence with one class per sample; None for samples of no particular class.
      classifier: classifier for class-conditional sampling: a `Classifier` from `load_classifier`, the path of one, or
        any function in jax.numpy from images in [-1, 1] to logits [batch, classes].
      scale: phi, from 0 to 1000. With 0 the classifier does not act on the flow.
      candidates: number of prior draws from which the start of each sample is chosen: the flow starts from the draw
        that the classifier gives the highest probability of the class. The paper has 1. With 64, more samples are of
        the class, and they are better (README); they cost 64 passes of the classifier.

    Returns:
      float32 [num_samples, H, W, C] in [-1, 1] for images, [num_samples, D] for points.

    Raises:
      InputError: an argument is out of range, or the flow diverges because the scale is too large.
    """
    require_model(model)
    require_integer("num_samples", num_samples, 1)
    condition = None
    if label is None and classifier is None and (scale, candidates) != (class_conditional.DEFAULT_SCALE, 1):
        raise InputError(f"scale = {scale!r} and candidates = {candidates!r} need a class: give label and classifier")
    if label is not None or classifier is not None:
        shape = model.experiment.event_shape
        condition = class_conditional.condition(classifier, label, scale, num_samples, shape, candidates)
    # `batches` is a generator, which checks its arguments only when the first batch is requested, so they are checked
    # here. This check is the last one because it makes a key.
    arguments = _checked_arguments(model, key, num_samples, num_steps, batch_size)
    return np.concatenate(list(batches(model, *arguments, progress, condition)))


def batches(
    model: Model,
    key: Key[Array, ""] | UInt32[Array | np.ndarray, "2"] | int,
    num_samples: int,
    num_steps: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
    condition: class_conditional.Condition | None = None,
) -> Iterator[Float[np.ndarray, "batch *event"]]:
    """Yield the samples of `sample` one batch at a time, for more samples than memory holds. The last may be shorter.

    Args:
      model, key, num_samples, num_steps, batch_size, progress: as in `sample`.
      condition: classes of all samples, from `class_conditional.condition`; None for samples of no particular class.

    Raises:
      InputError: an argument is out of range.
    """
    root, num_samples, num_steps, batch_size = _checked_arguments(model, key, num_samples, num_steps, batch_size)
    replicated_root = sharding.replicate(root)
    # To move the progress bar, the flow is cut into pieces of equal length, which need one compilation. Pieces of a
    # single step would be slower: each piece prepares the kernels anew, which took 15% of a step of CIFAR-10's network.
    piece = sharding.largest_divisor(num_steps, at_most=max(10, num_steps // 10))
    method = model.experiment.method
    bar = tqdm(
        total=num_samples * num_steps, desc="sample", unit="flow step", unit_scale=True, disable=_hide_bar(progress)
    )
    with bar:
        for first in range(0, num_samples, batch_size):
            # The last batch is computed at full size, which saves a compilation, and then cut.
            index, count = _replicated_index(first), min(batch_size, num_samples - first)
            x = _start(model, root, first, batch_size, condition)
            class_arguments = _class_arguments(model, condition, first, batch_size)
            for k in range(0, num_steps, piece):
                x = method.advance(
                    model.params, replicated_root, x, index, _replicated_index(k), piece, **class_arguments
                )
                jax.block_until_ready(x)  # Without this the bar would count the steps dispatched, not those finished.
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
    condition: class_conditional.Condition | None = None,
) -> tuple[np.ndarray, Float[np.ndarray, "time num_samples *event"]]:
    """Return states of the flow of `sample`: the prior draw, every `every`-th state, and the last, which is the sample.

    Args:
      model, key, num_samples, num_steps, batch_size, progress: as in `sample`.
      every: number of flow steps between two states.
      condition: classes of the samples, from `class_conditional.condition`; None for samples of no particular class.

    Returns:
      The numbers of steps [time], and the states, float32 [time, num_samples, *event]. Images are clipped to [-1, 1] at
      every time.

    Raises:
      InputError: an argument is out of range.
    """
    require_integer("every", every, 1)
    root, num_samples, num_steps, batch_size = _checked_arguments(model, key, num_samples, num_steps, batch_size)
    every = min(every, max(num_steps, 1))
    step_counts = np.array([*range(0, num_steps, every), num_steps])
    bar = tqdm(total=num_samples, desc="sample", disable=_hide_bar(progress))
    method, replicated_root, parts = model.experiment.method, sharding.replicate(root), []
    with bar:
        for first in range(0, num_samples, batch_size):
            index, count = _replicated_index(first), min(batch_size, num_samples - first)
            x = _start(model, root, first, batch_size, condition)
            class_arguments = _class_arguments(model, condition, first, batch_size)
            states = method.record(model.params, replicated_root, x, index, num_steps, every, **class_arguments)
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
    """Yield (length, samples) for several lengths of the flow, from a single flow of each sample.

    The samples of each length are those of `sample` with that `num_steps`. Only their current state is kept in memory,
    whatever the number of lengths.

    Args:
      model, key, num_samples, batch_size, progress: as in `sample`.
      lengths: increasing numbers of flow steps.

    Raises:
      InputError: an argument is out of range.
    """
    if not lengths or list(lengths) != sorted(set(lengths)):
        raise InputError(f"lengths = {list(lengths)} must be increasing numbers of steps, at least one")
    require_integer("lengths", lengths[0], 0)
    root, num_samples, last, batch_size = _checked_arguments(model, key, num_samples, lengths[-1], batch_size)
    method, firsts = model.experiment.method, range(0, num_samples, batch_size)
    bar = tqdm(total=num_samples * last, desc="flow", unit="flow step", unit_scale=True, disable=_hide_bar(progress))
    with bar:
        draws = (
            method.start(model.params, model.prior, root, _replicated_index(first), batch_size) for first in firsts
        )
        states, replicated_root = [sharding.fetch(x) for x in draws], sharding.replicate(root)
        done = 0
        for length in lengths:
            for i, first in enumerate(firsts if length > done else ()):
                # `advance` donates its input, whose memory the device may share with the host's array: copy it first.
                x = sharding.shard_by_sample(states[i].copy())
                index, k = _replicated_index(first), _replicated_index(done)
                states[i] = sharding.fetch(method.advance(model.params, replicated_root, x, index, k, length - done))
                bar.update((length - done) * min(batch_size, num_samples - first))
            done = length
            # `np.concatenate` copies, so that the caller may keep or change the samples.
            samples = np.concatenate(states)[:num_samples]
            yield length, _finished(model, samples, None)


def _start(
    model: Model, root: Key[Array, ""], first: int, count: int, condition: class_conditional.Condition | None
) -> Particles:
    """Return the starts of samples first, first + 1, ...: prior draws, for classes chosen from several candidates."""

    def draw(candidate: int) -> Particles:
        # Candidate 0 is the draw from which sampling without a class starts.
        key = rng.stream(root, "candidate", candidate) if candidate else root
        return model.experiment.method.start(model.params, model.prior, key, _replicated_index(first), count)

    return draw(0) if condition is None else condition.choose_start(draw, first, count)


def _class_arguments(
    model: Model, condition: class_conditional.Condition | None, first: int, count: int
) -> dict[str, Any]:
    """Return `transform` and `arguments` of `Method.advance` for the classes of samples first, first + 1, ..."""
    if condition is None:
        return {}
    parameterisation = model.experiment.method.parameterisation
    if parameterisation is None:
        raise InputError("label needs a model with a ratio, and this model's method trains none: leave label out")
    result = condition.flow_arguments(parameterisation, first, count)
    return {**result, "arguments": sharding.replicate(result["arguments"])}


def _hide_bar(progress: bool) -> bool:
    """Return True where no progress bar is shown: only the first process shows one."""
    return not (progress and sharding.is_first_host())


def _replicated_index(n: int) -> Array:
    """Return an index as a replicated array, which a compiled function takes without being compiled anew."""
    return sharding.replicate(jnp.asarray(n))


def _finished(
    model: Model, states: Float[np.ndarray, "..."], condition: class_conditional.Condition | None
) -> Float[np.ndarray, "..."]:
    """Return the states with images clipped to [-1, 1] (Algorithm 2).

    Raises:
      InputError: a flow to a class diverged.
    """
    if condition is not None and not np.isfinite(states).all():
        raise InputError(
            f"with scale = {condition.scale:g} the flow to the class diverged: use a smaller scale, or a classifier "
            "with less confident predictions"
        )
    return np.clip(states, -1, 1) if model.experiment.is_image else states


def _checked_arguments(
    model: Model, key: Any, num_samples: Any, num_steps: Any, batch_size: Any
) -> tuple[Key[Array, ""], int, int, int]:
    """Check the arguments of `sample`, fill in defaults, and return root key, num_samples, num_steps, batch_size."""
    require_model(model)
    require_integer("num_samples", num_samples, 1)
    if num_steps is None:
        num_steps = model.experiment.flow_length()
    require_integer("num_steps", num_steps, 0)
    mesh = sharding.mesh()
    if batch_size is None:
        batch_size = DEFAULT_BATCH_SIZE * mesh.size
    require_integer("batch_size", batch_size, 1)
    # The batch size is rounded up so that all devices have equally many samples.
    return root_key(key), int(num_samples), int(num_steps), sharding.round_up(int(min(batch_size, num_samples)), mesh)
