"""What `--mode=sample` writes: pictures, arrays, and folders of PNGs."""

import os
import pathlib
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from fdrl_jax import builders, classifiers, pictures, sampling, sharding
from fdrl_jax.files import atomic
from fdrl_jax.observe import save_picture
from fdrl_jax.pixels import to_uint8
from fdrl_jax.types import InputError


def check_out(name: str | None) -> pathlib.Path:
    """The path in --out, checked before anything is computed.

    Raises:
      InputError: it is missing, ends in none of .png, .npz and /, is something else already, or cannot be written.
    """
    if not name:
        raise InputError("--out is missing: FILE.png for a picture, FILE.npz for arrays, FOLDER/ for a PNG a sample")
    out = pathlib.Path(name)
    if name.endswith("/"):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"--out={name} is there already: name a new folder, or an empty one")
    elif out.suffix not in (".png", ".npz"):
        raise InputError(f"--out={out} must end in .png (a picture), .npz (arrays) or / (a folder of PNGs)")
    elif out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError(f"--out={out} {'is a folder' if out.is_dir() else f'cannot be written: check {out.parent}'}")
    return out


def write(
    model: sampling.Model, out: pathlib.Path, *, is_folder: bool, every: int | None = None, **settings: Any
) -> None:
    """`--mode=sample`: into a file (`write_samples`) or a folder (`write_folder`).

    Raises:
      InputError: `every` is for a file, and `is_folder`.
    """
    if not is_folder:
        write_samples(model, out, every=every, **settings)
    elif every is None:
        write_folder(model, out, **settings)
    else:
        raise InputError("--every shows the flow, in a picture or an .npz file, not in a folder: leave one out")


def picture(
    model: sampling.Model, samples: Float[np.ndarray, "n *event"], seed: int, labels: np.ndarray | None = None
) -> pictures.Picture:
    """Images as a grid, one row a class where there are labels; points as a scatter plot over as many from the data."""
    if labels is not None and model.experiment.is_image:
        return pictures.class_grid(samples, labels)
    if model.experiment.is_image:
        return pictures.image_grid(samples)
    data = builders.dataset(model.experiment).batch(seed, 0, len(samples))
    return pictures.scatter({"data": data, "samples": samples})


def write_samples(
    model: sampling.Model,
    out: pathlib.Path,
    *,
    num_samples: int,
    seed: int,
    num_steps: int,
    batch_size: int | None = None,
    every: int | None = None,
    condition: classifiers.Condition | None = None,
) -> None:
    """`--mode=sample`: draw samples and write them to `out`, replacing it only when all is done.

    Args:
      model: from `loading.load`.
      out: `.png` for a picture; `.npz` for arrays `samples` and, with `every`, `steps` and `trajectory`.
      num_samples, seed, num_steps, batch_size: see `sample`.
      every: keep every n-th state of the flow, and show the flow rather than its end.
      condition: classes, which go into the file as `labels`; a picture of samples has a row for each.
    """
    if every is None:
        batches = sampling.batches(model, seed, num_samples, num_steps, batch_size, condition=condition)
        labels = None if condition is None else condition.labels
        if out.suffix == ".npz":
            shape = (num_samples, *model.experiment.event_shape)
            _write_stream(out, shape, batches, {} if labels is None else {"labels": labels})
            return
        samples = np.concatenate(list(batches))
        if sharding.is_first_host():
            save_picture(out, picture(model, samples, seed, labels))
        return
    times, states = sampling.trajectory(model, seed, num_samples, every, num_steps, batch_size, condition=condition)
    arrays = {"samples": states[-1], "steps": times, "trajectory": states}
    if condition is not None:
        arrays["labels"] = condition.labels
    if not sharding.is_first_host():
        return
    if out.suffix == ".png":
        save_picture(out, pictures.flow_picture(times, states))
    else:
        with atomic(out) as path:
            np.savez(path, **arrays)


def _write_stream(
    out: pathlib.Path,
    shape: tuple[int, ...],
    batches: Iterable[Float[np.ndarray, "batch *event"]],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """An .npz of float32 `samples` of that shape, batch by batch as they come, and of `arrays`; as np.savez writes it.

    One batch is in memory at a time. Other hosts than the first only run through the batches.
    """
    if not sharding.is_first_host():
        for _ in batches:
            pass
        return
    with atomic(out) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        # force_zip64: how large a member gets must be known before it is written, and 50,000 images are over 2 GiB.
        with file.open("samples.npy", "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            for batch in batches:
                member.write(np.ascontiguousarray(batch, "<f4").data)
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array)


def write_folder(
    model: sampling.Model,
    out: pathlib.Path,
    *,
    num_samples: int,
    seed: int,
    num_steps: int,
    batch_size: int | None = None,
    condition: classifiers.Condition | None = None,
) -> None:
    """`--mode=sample --out=FOLDER/`: a PNG a sample, 000000.png and on, each written when its batch is done.

    Raises:
      InputError: the samples are points.
    """
    if not model.experiment.is_image:
        raise InputError(f"--out={out}/ is for images, and this run makes points: use FILE.npz")
    done, writes = 0, sharding.is_first_host()
    if writes:
        out.mkdir(parents=True, exist_ok=True)
    for batch in sampling.batches(model, seed, num_samples, num_steps, batch_size, condition=condition):
        for image in to_uint8(batch) if writes else ():
            save_picture(out / f"{done:06d}.png", image[..., 0] if image.shape[-1] == 1 else image)
            done += 1
