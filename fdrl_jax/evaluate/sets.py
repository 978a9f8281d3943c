"""The two sets that are compared: samples, drawn or read, and the reference."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import Float

from fdrl_jax import builders, data, features, schema
from fdrl_jax.checkpoint import read_arrays
from fdrl_jax.data.transform import ImageError
from fdrl_jax.features import Features
from fdrl_jax.files import atomic
from fdrl_jax.pixels import to_float, to_uint8
from fdrl_jax.sampling import Model
from fdrl_jax.types import InputError

REFERENCE_FOLDER = "reference"

# Examples mapped to features, or added to sums, at once.
_AT_A_TIME = 256


@dataclasses.dataclass
class ReferenceSet:
    """What samples are compared with, in one space: vectors, or only their mean and covariance.

    Attributes:
      vectors: [n, d]; None where a statistics file was given.
      moments: mean and covariance in that file; None elsewhere.
      count: n, or 0 where a file does not say.
      where: in words.
    """

    vectors: np.ndarray | None
    moments: tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]] | None
    count: int
    where: str


def read_samples(samples: np.ndarray | pathlib.Path, event_shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """Samples in an array, an .npz file or a folder of PNG files, and where they came from.

    Raises:
      InputError: they cannot be read, are lossy (JPEG), have another shape than the model's, or are images with values
        beyond [-1, 1].
    """
    where = "given" if isinstance(samples, np.ndarray) else str(samples)
    if isinstance(samples, pathlib.Path):
        samples = _from_folder(samples) if samples.is_dir() else _from_file(samples)
    if samples.shape[1:] != event_shape or not len(samples):
        raise InputError(f"the samples {where} have shape {samples.shape}, not [n, {', '.join(map(str, event_shape))}]")
    if samples.dtype != np.uint8 and not np.issubdtype(samples.dtype, np.floating):
        raise InputError(f"the samples {where} are {samples.dtype}: give uint8 images, or floats in [-1, 1]")
    if samples.dtype == np.uint8:
        return to_float(samples), where
    # Not true for NaN either. Points have no range.
    if not (np.abs(samples) <= (1 if len(event_shape) == 3 else np.inf)).all():
        raise InputError(f"the samples {where} have values beyond [-1, 1], or NaN: give images as --mode=sample does")
    return samples.astype(np.float32), where


def _from_file(path: pathlib.Path) -> np.ndarray:
    if path.suffix != ".npz":
        raise InputError(f"--samples={path} must be an .npz file or a folder of PNG files (JPEG changes the pixels)")
    arrays = read_arrays(path)
    if "samples" not in arrays:
        raise InputError(f"--samples={path} has no array 'samples': write it with --mode=sample --out=FILE.npz")
    return arrays["samples"]


def _from_folder(path: pathlib.Path) -> np.ndarray:
    for kind, suffixes in (("JPEG", (".jpg", ".jpeg")), ("WebP", (".webp",))):
        files = [file for file in path.rglob("*") if file.suffix.lower() in suffixes]
        if files:
            raise InputError(
                f"--samples={path} has {kind} files ({files[0].name}), which may have changed the pixels: use PNG or "
                "npz"
            )
    try:
        reader = data.readers.folder(path)
    except InputError as error:
        raise InputError(f"--samples: {error}".replace("config.data.path", "--samples")) from None
    images = []
    for i in range(len(reader)):
        try:
            images.append(np.asarray(reader.read(i)))
        except ImageError as error:
            raise InputError(f"--samples: {reader.name(i)} {error}") from None
    if len({image.shape for image in images}) != 1:
        raise InputError(f"--samples={path} has images of different sizes: they must be the model's")
    stacked = np.stack(images)
    return stacked if stacked.ndim == 4 else stacked[..., None]


def chunks(x: np.ndarray) -> Iterator[np.ndarray]:
    return (x[first : first + _AT_A_TIME] for first in range(0, len(x), _AT_A_TIME))


def to_vectors(drawn: Iterable[np.ndarray], spaces: list[Features]) -> dict[str, np.ndarray]:
    """The vectors of examples that come as float batches, in every space."""
    found: dict[str, list[np.ndarray]] = {space.name: [] for space in spaces}
    for batch in drawn:
        for space in spaces:
            is_image = batch.ndim == 4
            found[space.name].append(space.apply(to_uint8(batch) if is_image and space.takes == "uint8" else batch))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def reference_set(
    model: Model,
    space: Features,
    path: pathlib.Path | None,
    num_samples: int,
    num_reference: int | None,
    seed: int,
    cache: pathlib.Path | None,
) -> ReferenceSet:
    if path is not None:
        found = features.read_fingerprint(path)
        if found is not None and found != space.fingerprint:
            raise InputError(
                f"--reference={path} was made by another protocol ({found}, not {space.fingerprint}): make it again, "
                "or ask for the metric in its features"
            )
        moments = features.read_statistics(path)
        # Of one blank example, before many are drawn.
        dtype = np.uint8 if model.experiment.is_image and space.takes == "uint8" else np.float32
        dimensions = space.apply(np.zeros((1, *model.experiment.event_shape), dtype)).shape[1]
        if len(moments[0]) != dimensions:
            raise InputError(
                f"--reference={path} is of {len(moments[0])} dimensions, and the features {space.name!r} have "
                f"{dimensions}: make it again, with --write_reference"
            )
        return ReferenceSet(None, moments, 0, f"statistics in {path}")
    dataset = builders.dataset(model.experiment)
    if not isinstance(dataset, data.ArrayDataset):
        count = num_samples if num_reference is None else num_reference
        # Not those of training: another step of the same stream of draws would be.
        vectors = space.apply(dataset.batch(_other_seed(model, seed), 0, count))
        return _from_vectors(vectors, f"fresh draws of {builders.dataset_name(model.experiment)}")
    count = len(dataset.examples) if num_reference is None else num_reference
    if not 2 <= count <= len(dataset.examples):
        raise InputError(f"--num_reference={count} must be at least 2 and at most {len(dataset.examples)}")
    where = f"training images of {builders.dataset_name(model.experiment)}"
    order = np.sort(np.random.default_rng(0).permutation(len(dataset.examples))[:count])
    make = lambda: to_vectors((to_float(dataset.examples[rows]) for rows in chunks(order)), [space])[space.name]  # noqa: E731
    if cache is None or space.name == "pixels":
        return _from_vectors(make(), where)
    digest = dataset.digest or hashlib.sha256(dataset.examples.tobytes()).hexdigest()[:12]
    return _kept(cache, space, digest, count, where, make)


def _from_vectors(vectors: np.ndarray, where: str) -> ReferenceSet:
    return ReferenceSet(vectors, None, len(vectors), where)


def _other_seed(model: Model, seed: int) -> int:
    return (model.experiment.config["seed"] + seed + 1) % schema.MAX_SEED


def _kept(
    cache: pathlib.Path, space: Features, digest: str, count: int, where: str, make: Callable[[], np.ndarray]
) -> ReferenceSet:
    """The reference in `cache`, made and kept there if it is not there yet."""
    path = cache / f"{space.slug}-{count}.npz"
    fingerprint = f"{space.fingerprint} {digest}"
    if path.exists():
        arrays = read_arrays(path)
        found = str(arrays.get("fingerprint"))
        if found != fingerprint:
            raise InputError(
                f"{path} was made of other images or by another protocol ({found}, not {fingerprint}): delete it, and "
                "it will be made again"
            )
        vectors = arrays["vectors"]
    else:
        vectors = make()
        cache.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            np.savez(temporary, vectors=vectors, fingerprint=np.array(fingerprint))
    return _from_vectors(vectors, where)
