"""Unpaired image-to-image translation (section 6.5, Fig. 7 and Table 4 of arXiv 2303.03714).

A run whose prior is a second set of images (`prior.name = 'dataset'`) learns to flow that source domain to the data.
Translation is sampling whose flow starts from the user's images instead of random images of that set. `translate` takes
arrays, and `translate_folder` is `--mode=translate`. `translation_fidelity` measures the results.
"""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8, UInt32

from fdrl_jax import data
from fdrl_jax.data.transform import ImageError
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import Model
from fdrl_jax.inference import sampling
from fdrl_jax.inference.translation_fidelity import Paired, fidelity
from fdrl_jax.priors import Empirical, FixedImages
from fdrl_jax.types import InputError
from fdrl_jax.utils import plotting
from fdrl_jax.utils.atomic_files import atomic
from fdrl_jax.utils.pixel_scaling import to_float, to_uint8
from fdrl_jax.utils.plotting import save_picture
from fdrl_jax.utils.validation import expanded, require_array, require_model

Images = Float[Array | np.ndarray, "n h w c"] | UInt8[Array | np.ndarray, "n h w c"]
RootKey = Key[Array, ""] | UInt32[Array | np.ndarray, "2"] | int

# The pictures of `translate_folder` have at most 48 images in the sheet, and the flow of 8 images in about 12 states.
_MAX_SHEET_IMAGES, _MAX_FLOW_IMAGES, _NUM_FLOW_STATES = 48, 8, 12


def translate(
    model: Model,
    images: Images,
    key: RootKey,
    *,
    num_steps: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Float[np.ndarray, "n h w c"]:
    """Flow images of the source domain to the domain of the data, and clip the results to [-1, 1].

    Training adds noise of `data.dequantize_sigma` to both domains, as the authors' code does (the paper does not say
    so). The same noise is added here, because the ratio was never trained on images without it. The result of image i
    is a function of the image, the key and i; up to rounding it does not depend on the other images or on `batch_size`.

    Args:
      model: model trained with `prior.name = 'dataset'`.
      images: images of the size and channels that the model was trained on, uint8 [n, H, W, C], or float in [-1, 1];
        also nested lists of floats.
      key, num_steps, batch_size, progress: as in `sampling.sample`.

    Returns:
      float32 [n, H, W, C] in [-1, 1].

    Raises:
      InputError: the model's prior is not a set of images, the images have another shape, dtype or range, or an
        argument is out of range.
    """
    model, count = _with_images_as_prior(model, images)
    return sampling.sample(model, key, count, num_steps, batch_size, progress)


def trajectory(
    model: Model,
    images: Images,
    key: RootKey,
    *,
    every: int,
    num_steps: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> tuple[np.ndarray, Float[np.ndarray, "time n h w c"]]:
    """Return states of the flow of `translate`: the input with its noise, every `every`-th state, and the last.

    Args:
      model, images, key, num_steps, batch_size, progress: as in `translate`.
      every: number of flow steps between two states.

    Returns:
      The numbers of steps [time], and the states, float32 [time, n, H, W, C] in [-1, 1].

    Raises:
      InputError: as for `translate`.
    """
    model, count = _with_images_as_prior(model, images)
    return sampling.trajectory(model, key, count, every, num_steps, batch_size, progress)


def _source_domain(model: Model) -> Empirical:
    """Return the source domain, which is the model's prior.

    Raises:
      InputError: the prior is not a set of images.
    """
    require_model(model)
    if not isinstance(model.prior, Empirical):
        raise InputError(
            f"this model flows draws of a {type(model.prior).__name__} prior: to translate images, train with "
            "prior.name = 'dataset', as configs/emoji_translation64.py does"
        )
    return model.prior


def _with_images_as_prior(model: Model, images: Any) -> tuple[Model, int]:
    """Return the model with `images` as its prior, and the number of images."""
    noise, shape = _source_domain(model).noise, model.experiment.event_shape
    images = require_array("images", images, f"uint8 or float [n, {', '.join(map(str, shape))}]")
    if images.ndim == 0 or images.shape[1:] != shape or not len(images):
        raise InputError(f"images have shape {list(images.shape)}, not [n, {', '.join(map(str, shape))}] with n >= 1")
    # The comparison is False for NaN, so NaN is refused too.
    if images.dtype != np.uint8 and not (
        jnp.issubdtype(images.dtype, jnp.floating) and bool((np.abs(np.asarray(images)) <= 1).all())
    ):
        raise InputError(f"images are {images.dtype}, and not uint8 or float within [-1, 1]: scale them")
    return dataclasses.replace(model, prior=FixedImages(images, noise)), len(images)


def translate_folder(
    model: Model,
    folder: pathlib.Path,
    out: pathlib.Path,
    *,
    seed: int,
    truth: pathlib.Path | None = None,
    num_steps: int | None = None,
    batch_size: int | None = None,
) -> list[str]:
    """Translate every image in a folder to a PNG of the same relative name in folder `out` (`--mode=translate`).

    Three files are written next to OUT: OUT-sheet.png (inputs over outputs over the true translations, where these are
    known), OUT-flow.png (one row per image, from input to output) and OUT-fidelity.json (see `fidelity`). The index of
    an image, which determines its noise, is its position among the sorted relative names.

    Args:
      model: model trained with `prior.name = 'dataset'`.
      folder: folder with PNG, JPEG and WebP files at any depth, which are transformed as the run's config transforms
        its data.
      out: new or empty folder.
      seed: seed of the noise.
      truth: folder with true translations under the same names, with any suffix; not every image needs one.
      num_steps, batch_size: as in `sampling.sample`.

    Returns:
      Lines for the user that say what was written and measured.

    Raises:
      InputError: an output exists already, a file cannot be used, two outputs would have the same name, or the model
        cannot translate.
    """
    _source_domain(model)
    sheet, flow, measures = (out.with_name(out.name + end) for end in ("-sheet.png", "-flow.png", "-fidelity.json"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out={out} is there already: name a new folder, or an empty one")
    for path in (sheet, flow, measures):
        if path.exists():
            raise InputError(f"{path} is there already, and is written next to --out={out}: name another folder")
    names, images = _read_folder(model, folder, "--input")
    targets = [pathlib.PurePath(name).with_suffix(".png") for name in names]
    target, count = collections.Counter(targets).most_common(1)[0]
    if count > 1:
        raise InputError(f"{count} images in --input={folder} would become {target}: rename them")
    partners = {} if truth is None else _partners(model, truth, names)
    outputs = to_uint8(translate(model, images, seed, num_steps=num_steps, batch_size=batch_size))
    for target, image in zip(targets, outputs, strict=True):
        (out / target).parent.mkdir(parents=True, exist_ok=True)
        save_picture(out / target, image[..., 0] if image.shape[-1] == 1 else image)

    shown = [i for i in range(len(names)) if not partners or i in partners][:_MAX_SHEET_IMAGES]
    rows = [to_float(x[shown]) for x in (images, outputs)]
    rows += [to_float(np.stack([partners[i] for i in shown]))] if partners else []
    save_picture(sheet, plotting.strips(*rows))
    length = model.experiment.flow_length() if num_steps is None else num_steps
    every = max(1, -(-length // _NUM_FLOW_STATES))
    times, states = trajectory(model, images[:_MAX_FLOW_IMAGES], seed, every=every, num_steps=num_steps, progress=False)
    save_picture(flow, plotting.flow_picture(times, states))
    lines = [f"{len(names):,} images from {folder} are in {out}; {sheet.name} and {flow.name} next to it show some"]
    if len(names) > 1:
        pairs = sorted(partners)
        truths = np.stack([partners[i] for i in pairs]) if len(pairs) > 1 else None
        measured = fidelity(images, outputs, truths, pairs)
        with atomic(measures) as path:
            path.write_text(json.dumps({name: value._asdict() for name, value in measured.items()}, indent=1))
        lines += [_line(name, value) for name, value in measured.items()]
        lines += [f"{len(pairs):,} of the images have a true partner in {truth}"] if partners else []
    return lines


def _line(name: str, value: Paired) -> str:
    """Return a line for the user with a mean, its 95% interval, and the mean of random pairs."""
    half = value.own_interval[1] - value.own
    return f"{name}: {value.own:.3f} +- {half:.3f}; paired at random {value.other:.3f}"


def _read_folder(
    model: Model, folder: pathlib.Path, flag: str, is_wanted: Callable[[str], bool] = lambda name: True
) -> tuple[list[str], UInt8[np.ndarray, "n h w c"]]:
    """Read the images of a folder.

    Args:
      model: model whose config says how images are transformed.
      folder: folder of the images.
      flag: the flag that names the folder, for error messages.
      is_wanted: function from a relative name to whether that image is read.

    Returns:
      The relative names, sorted, and the images after the run's transform, uint8 [n, H, W, C].

    Raises:
      InputError: the folder or an image cannot be read, or an image does not suit the transform.
    """
    try:
        reader = data.readers.folder(folder)
    except InputError as error:
        raise InputError(str(error).replace("config.data.path", flag)) from None
    transform = builders.data_transform(model.experiment.config["data"])
    root = expanded(folder)
    names, images = [], []
    for i in range(len(reader)):
        name = str(pathlib.Path(reader.name(i)).relative_to(root))
        if is_wanted(name):
            try:
                images.append(transform(reader.read(i)))
            except ImageError as error:
                why = "images are read as this run reads its data: make them like those, or train a run for such images"
                raise InputError(f"{flag}: {reader.name(i)} {error} ({why})") from None
            names.append(name)
    return names, np.stack(images) if images else np.zeros((0, *model.experiment.event_shape), np.uint8)


def _partners(model: Model, truth: pathlib.Path, names: Sequence[str]) -> dict[int, np.ndarray]:
    """Return the true translations by the index of their input in `names`.

    Raises:
      InputError: no input has a partner, or one has several.
    """
    index = {_stem(name): i for i, name in enumerate(names)}
    partners, images = _read_folder(model, truth, "--truth", lambda name: _stem(name) in index)
    if not partners:
        raise InputError(
            f"--truth={truth} has no image of the same name as one in --input: give true translations the names of "
            "their inputs"
        )
    stems = [_stem(name) for name in partners]
    twice, count = collections.Counter(stems).most_common(1)[0]
    if count > 1:
        which = " and ".join(name for name, stem in zip(partners, stems, strict=True) if stem == twice)
        raise InputError(f"--truth={truth} has {which}, both partners of one image in --input: keep one of them")
    return {index[stem]: image for stem, image in zip(stems, images, strict=True)}


def _stem(name: str) -> str:
    """Return a relative name without its suffix."""
    return str(pathlib.PurePath(name).with_suffix(""))
