"""Unpaired image-to-image translation (section 6.5, Fig. 7 and Table 4 of arXiv 2303.03714).

A run whose prior is a second set of images (`prior.name = 'dataset'`) has learned to flow that domain to the data.
Translation is sampling from another prior: images that are given, instead of random ones of the training set.
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

from fdrl_jax import builders, data, evaluation, pictures, sampling
from fdrl_jax.arguments import require_array, require_model
from fdrl_jax.data.transform import ImageError
from fdrl_jax.files import atomic, expanded
from fdrl_jax.observe import save_picture
from fdrl_jax.pixels import to_float, to_uint8
from fdrl_jax.priors import Empirical, Given
from fdrl_jax.sampling import Model
from fdrl_jax.types import InputError

Images = Float[Array | np.ndarray, "n h w c"] | UInt8[Array | np.ndarray, "n h w c"]
# Sets of images that need not be equally many.
Pictures = Float[np.ndarray, "..."] | UInt8[np.ndarray, "..."]
RootKey = Key[Array, ""] | UInt32[Array | np.ndarray, "2"] | int

# In the pictures of `translate_folder`: images of the sheet; images whose way is shown, in about so many states.
_SHEET, _FLOWS, _STATES = 48, 8, 12


def translate(
    model: Model,
    images: Images,
    key: RootKey,
    *,
    num_steps: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Float[np.ndarray, "n h w c"]:
    """Flow given images of the source domain to the domain of the data, clip to [-1, 1].

    Training adds noise of `data.dequantize_sigma` to both domains (the authors' code does; the paper is silent), so it
    is added here too, or the ratio would be asked about images smoother than any it has seen. Image i's result is a
    function of the image, the key and i, and up to rounding of nothing else: not of the other images or `batch_size`.

    Args:
      model: from `loading.load`, trained with `prior.name = 'dataset'`.
      images: uint8 [n, H, W, C], or float in [-1, 1], of the size and channels that the model was trained on; nested
        lists of floats will do.
      key, num_steps, batch_size, progress: see `sampling.sample`; by default K + kappa steps.

    Returns:
      float32 [n, H, W, C] in [-1, 1].

    Raises:
      InputError: the model's prior is no image domain, the images have another shape, dtype or range, or an argument
        is out of range.
    """
    model, count = _from(model, images)
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
    """`translate`, keeping the (noisy) input, every `every`-th state and the last: see `sampling.trajectory`."""
    model, count = _from(model, images)
    return sampling.trajectory(model, key, count, every, num_steps, batch_size, progress)


def _domain(model: Model) -> Empirical:
    """The images that the model flows from."""
    require_model(model)
    if not isinstance(model.prior, Empirical):
        raise InputError(
            f"this model flows draws of a {type(model.prior).__name__} prior: to translate images, train with "
            "prior.name = 'dataset', as configs/emoji_translation64.py does"
        )
    return model.prior


def _from(model: Model, images: Any) -> tuple[Model, int]:
    """The model with `images` as its prior, and how many they are."""
    noise, shape = _domain(model).noise, model.experiment.event_shape
    images = require_array("images", images, f"uint8 or float [n, {', '.join(map(str, shape))}]")
    if images.ndim == 0 or images.shape[1:] != shape or not len(images):
        raise InputError(f"images have shape {list(images.shape)}, not [n, {', '.join(map(str, shape))}] with n >= 1")
    # The comparison is not true for NaN either.
    if images.dtype != np.uint8 and not (
        jnp.issubdtype(images.dtype, jnp.floating) and bool((np.abs(np.asarray(images)) <= 1).all())
    ):
        raise InputError(f"images are {images.dtype}, and not uint8 or float within [-1, 1]: scale them")
    return dataclasses.replace(model, prior=Given(images, noise)), len(images)


def fidelity(
    inputs: Pictures, outputs: Pictures, truths: Pictures | None = None, with_truth: Sequence[int] | None = None
) -> dict[str, evaluation.Paired]:
    """What a translation keeps, measured pair by pair and against images paired at random.

    Args:
      inputs, outputs: at least 2 each, in the same order, uint8 or float in [-1, 1].
      truths: the true translations of the inputs `with_truth`, of all by default; at least 2.

    Returns:
      input_low_frequency_rmse, of outputs to their inputs; with truths also truth_rmse and truth_ssim, of outputs to
      their true partners, and untranslated_rmse and untranslated_ssim, of the inputs themselves to these: what doing
      nothing gets. No ssim of images smaller than its window. See `evaluation.fidelity`.
    """
    inputs, outputs = to_float(inputs), to_float(outputs)
    found = {"input_low_frequency_rmse": evaluation.paired(evaluation.low_frequency_rmse, outputs, inputs)}
    if truths is None:
        return found
    rows = np.arange(len(inputs)) if with_truth is None else np.asarray(with_truth)
    truths = to_float(truths)
    for name, images in (("truth", outputs[rows]), ("untranslated", inputs[rows])):
        found[f"{name}_rmse"] = evaluation.paired(evaluation.rmse, images, truths)
        if min(images.shape[1:3]) >= evaluation.SSIM_WINDOW:
            found[f"{name}_ssim"] = evaluation.paired(evaluation.ssim, images, truths)
    return found


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
    """`--mode=translate`: every image below `folder` to a PNG of the same name below `out`.

    Beside OUT it writes OUT-sheet.png (inputs over outputs, and over true partners where they are known), OUT-flow.png
    (a row an image, from input to output) and OUT-fidelity.json (see `fidelity`). An image's place in the order of
    relative names takes the part of a sample's index.

    Args:
      model, seed, num_steps, batch_size: see `translate`.
      folder: PNG, JPEG and WebP files at any depth; transformed as the run's config transforms its data.
      out: a new or empty folder.
      truth: a folder with true translations under the same names (any suffix); names that are missing are left out.

    Returns:
      What to tell the user.

    Raises:
      InputError: something that would be written is there already, a file cannot be used, two would get one name, or
        the run cannot translate.
    """
    _domain(model)
    sheet, flow, measures = (out.with_name(out.name + end) for end in ("-sheet.png", "-flow.png", "-fidelity.json"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out={out} is there already: name a new folder, or an empty one")
    for path in (sheet, flow, measures):
        if path.exists():
            raise InputError(f"{path} is there already, and is written beside --out={out}: name another folder")
    names, images = _read_folder(model, folder, "--input")
    targets = [pathlib.PurePath(name).with_suffix(".png") for name in names]
    twice, count = collections.Counter(targets).most_common(1)[0]
    if count > 1:
        raise InputError(f"{count} images in --input={folder} would become {twice}: rename them")
    partners = {} if truth is None else _partners(model, truth, names)
    outputs = to_uint8(translate(model, images, seed, num_steps=num_steps, batch_size=batch_size))
    for target, image in zip(targets, outputs, strict=True):
        (out / target).parent.mkdir(parents=True, exist_ok=True)
        save_picture(out / target, image[..., 0] if image.shape[-1] == 1 else image)

    shown = [i for i in range(len(names)) if not partners or i in partners][:_SHEET]
    columns = [to_float(x[shown]) for x in (images, outputs)]
    columns += [to_float(np.stack([partners[i] for i in shown]))] if partners else []
    save_picture(sheet, pictures.strips(*columns))
    length = model.experiment.flow_length() if num_steps is None else num_steps
    every = max(1, -(-length // _STATES))
    times, states = trajectory(model, images[:_FLOWS], seed, every=every, num_steps=num_steps, progress=False)
    save_picture(flow, pictures.flow_picture(times, states))
    lines = [f"{len(names):,} images from {folder} are in {out}; {sheet.name} and {flow.name} beside it show some"]
    if len(names) > 1:
        pairs = sorted(partners)
        truths = np.stack([partners[i] for i in pairs]) if len(pairs) > 1 else None
        found = fidelity(images, outputs, truths, pairs)
        with atomic(measures) as path:
            path.write_text(json.dumps({name: value._asdict() for name, value in found.items()}, indent=1))
        lines += [_line(name, value) for name, value in found.items()]
        lines += [f"{len(pairs):,} of the images have a true partner in {truth}"] if partners else []
    return lines


def _line(name: str, value: evaluation.Paired) -> str:
    half = value.own_interval[1] - value.own
    return f"{name}: {value.own:.3f} +- {half:.3f}; paired at random {value.other:.3f}"


def _read_folder(
    model: Model, folder: pathlib.Path, flag: str, wanted: Callable[[str], bool] = lambda name: True
) -> tuple[list[str], UInt8[np.ndarray, "n h w c"]]:
    """Relative names of the images in a folder, sorted, and what the run's transform makes of them."""
    try:
        reader = data.readers.folder(folder)
    except InputError as error:
        raise InputError(str(error).replace("config.data.path", flag)) from None
    transform = builders.data_transform(model.experiment.config["data"])
    root = expanded(folder)
    names, images = [], []
    for i in range(len(reader)):
        name = str(pathlib.Path(reader.name(i)).relative_to(root))
        if wanted(name):
            try:
                images.append(transform(reader.read(i)))
            except ImageError as error:
                why = "images are read as this run reads its data: make them like those, or train a run for such images"
                raise InputError(f"{flag}: {reader.name(i)} {error} ({why})") from None
            names.append(name)
    return names, np.stack(images) if images else np.zeros((0, *model.experiment.event_shape), np.uint8)


def _partners(model: Model, truth: pathlib.Path, names: Sequence[str]) -> dict[int, np.ndarray]:
    """From an image's place to its true translation."""
    places = {str(pathlib.PurePath(name).with_suffix("")): i for i, name in enumerate(names)}
    found, images = _read_folder(model, truth, "--truth", lambda n: str(pathlib.PurePath(n).with_suffix("")) in places)
    if not found:
        raise InputError(f"--truth={truth} has no image of the same name as one in --input: give partners their names")
    stems = [str(pathlib.PurePath(name).with_suffix("")) for name in found]
    twice, count = collections.Counter(stems).most_common(1)[0]
    if count > 1:
        which = " and ".join(name for name, stem in zip(found, stems, strict=True) if stem == twice)
        raise InputError(f"--truth={truth} has {which}, both partners of one image in --input: keep one of them")
    return {places[stem]: image for stem, image in zip(stems, images, strict=True)}
