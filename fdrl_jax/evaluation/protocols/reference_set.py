"""The reference set that samples are compared with: training data, fresh draws, or a file of mean and covariance."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from fdrl_jax import data
from fdrl_jax.evaluation import features
from fdrl_jax.evaluation.features import Features
from fdrl_jax.evaluation.metrics import Moments
from fdrl_jax.evaluation.protocols.feature_vectors import chunks, to_vectors
from fdrl_jax.evaluation.protocols.metric_names import Metric
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import Model
from fdrl_jax.experiment.workdir_files import read_arrays
from fdrl_jax.types import MAX_SEED, InputError
from fdrl_jax.utils.atomic_files import atomic
from fdrl_jax.utils.pixel_scaling import to_float

REFERENCE_FOLDER = "reference"


@dataclasses.dataclass
class ReferenceSet:
    """The reference in one feature space: all vectors, or only their mean and covariance.

    Attributes:
      vectors: [n, d]; None if the reference is a statistics file.
      moments: mean [d] and covariance [d, d] of a statistics file; None otherwise.
      count: n, or 0 for a statistics file, which does not store it.
      description: the reference in words.
    """

    vectors: np.ndarray | None
    moments: tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]] | None
    count: int
    description: str


def build_reference_set(
    model: Model,
    space: Features,
    path: pathlib.Path | None,
    num_samples: int,
    num_reference: int | None,
    seed: int,
    cache: pathlib.Path | None,
) -> ReferenceSet:
    """Return the reference for samples of a model.

    Args:
      model: model whose training data are the reference.
      space: feature space.
      path: statistics file to use instead of the training data; None for the training data.
      num_samples: number of fresh draws for runs on points, where `num_reference` is None.
      num_reference: number of training images or of fresh draws; None for all images.
      seed: seed of fresh draws.
      cache: folder where the vectors of training images are stored; None to compute them each time.

    Raises:
      InputError: a file is missing, damaged, or made of other images or by another protocol; or `num_reference` is out
        of range.
    """
    if path is not None:
        return _from_statistics_file(model, space, path)
    dataset = builders.dataset(model.experiment)
    if not isinstance(dataset, data.ArrayDataset):
        count = num_samples if num_reference is None else num_reference
        # With the run's own seed, any step would give draws that the model may have been trained on.
        vectors = space.apply(dataset.batch(_other_seed(model, seed), 0, count))
        return _from_vectors(vectors, f"fresh draws of {builders.dataset_name(model.experiment)}")
    count = len(dataset.examples) if num_reference is None else num_reference
    if not 2 <= count <= len(dataset.examples):
        raise InputError(f"--num_reference={count} must be at least 2 and at most {len(dataset.examples)}")
    description = f"training images of {builders.dataset_name(model.experiment)}"
    order = np.sort(np.random.default_rng(0).permutation(len(dataset.examples))[:count])

    def compute() -> np.ndarray:
        return to_vectors((to_float(dataset.examples[rows]) for rows in chunks(order)), [space])[space.name]

    if cache is None or space.name == "pixels":
        return _from_vectors(compute(), description)
    digest = dataset.digest or hashlib.sha256(dataset.examples.tobytes()).hexdigest()[:12]
    return _from_vectors(_cached(cache, space, digest, count, compute), description)


def write_reference(
    model: Model,
    metric: Metric,
    path: pathlib.Path,
    weights: pathlib.Path | None = None,
    num_reference: int | None = None,
    cache: pathlib.Path | None = None,
) -> None:
    """Write mean and covariance of the training images in a metric's space, as pytorch-fid or torch-fidelity do.

    Args:
      model: model whose training images are used.
      metric: metric whose feature space is used.
      path: .npz (pytorch-fid) or .pt (torch-fidelity).
      weights, num_reference, cache: see `evaluate`.

    Raises:
      InputError: an argument is refused by `evaluate`, or `path` exists, has another suffix or cannot be written.
    """
    if path.exists():
        raise InputError(f"{path} already exists: name another file")
    if path.suffix not in (".npz", ".pt"):
        raise InputError(f"{path}: statistics are .npz files of pytorch-fid or .pt files of torch-fidelity")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"--write_reference={path} cannot be written: check {path.parent}")
    space = features.get(metric.features, weights)
    reference = build_reference_set(model, space, None, 0, num_reference, 0, cache)
    assert reference.vectors is not None
    moments = Moments(chunks(reference.vectors))
    features.write_statistics(path, moments.mean, moments.covariance, space.fingerprint)


def _from_statistics_file(model: Model, space: Features, path: pathlib.Path) -> ReferenceSet:
    fingerprint = features.read_fingerprint(path)
    if fingerprint is not None and fingerprint != space.fingerprint:
        raise InputError(
            f"--reference={path} was made by another protocol ({fingerprint}, not {space.fingerprint}): make it again, "
            "or choose the features that it was made with"
        )
    moments = features.read_statistics(path)
    # The features of one blank example show a mismatch of dimensions before any sample is drawn.
    dtype = np.uint8 if model.experiment.is_image and space.takes == "uint8" else np.float32
    dimensions = space.apply(np.zeros((1, *model.experiment.event_shape), dtype)).shape[1]
    if len(moments[0]) != dimensions:
        raise InputError(
            f"--reference={path} is of {len(moments[0])} dimensions, and the features {space.name!r} have "
            f"{dimensions}: make it again, with --write_reference"
        )
    return ReferenceSet(None, moments, 0, f"statistics in {path}")


def _from_vectors(vectors: np.ndarray, description: str) -> ReferenceSet:
    return ReferenceSet(vectors, None, len(vectors), description)


def _other_seed(model: Model, seed: int) -> int:
    return (model.experiment.config["seed"] + seed + 1) % MAX_SEED


def _cached(
    cache: pathlib.Path, space: Features, digest: str, count: int, compute: Callable[[], np.ndarray]
) -> np.ndarray:
    """Return the reference's vectors from a file in `cache`; if it does not exist, compute and store them.

    Args:
      cache: folder of the file.
      space: feature space.
      digest: digest of the images.
      count: number of images.
      compute: function that returns the vectors.

    Raises:
      InputError: the file was made of other images or by another protocol.
    """
    path = cache / f"{space.slug}-{count}.npz"
    fingerprint = f"{space.fingerprint} {digest}"
    if path.exists():
        arrays = read_arrays(path)
        stored = str(arrays.get("fingerprint"))
        if stored != fingerprint:
            raise InputError(
                f"{path} was made of other images or by another protocol ({stored}, not {fingerprint}): delete it, and "
                "it will be made again"
            )
        return arrays["vectors"]
    vectors = compute()
    cache.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        np.savez(temporary, vectors=vectors, fingerprint=np.array(fingerprint))
    return vectors
