"""Files of samples, as `--mode=sample --out=...` writes them: pictures, .npz files, and folders of PNGs."""

import os
import pathlib
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from fdrl_jax.experiment import builders
from fdrl_jax.experiment.model import Model
from fdrl_jax.inference import sampling
from fdrl_jax.inference.class_conditional import Condition
from fdrl_jax.types import InputError
from fdrl_jax.utils import plotting, sharding
from fdrl_jax.utils.atomic_files import atomic
from fdrl_jax.utils.pixel_scaling import to_uint8
from fdrl_jax.utils.plotting import save_picture


def check_out(name: str | None) -> pathlib.Path:
    """Check --out before anything is computed, and return it as a path.

    Raises:
      InputError: --out is missing, ends in none of .png, .npz and /, exists as something else, or cannot be written.
    """
    if not name:
        raise InputError(
            "--out is missing: FILE.png for a picture, FILE.npz for arrays, FOLDER/ for one PNG per sample"
        )
    out = pathlib.Path(name)
    if name.endswith("/"):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"--out={name} is there already: name a new folder, or an empty one")
    elif out.suffix not in (".png", ".npz"):
        raise InputError(f"--out={out} must end in .png (a picture), .npz (arrays) or / (a folder of PNGs)")
    elif out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError(f"--out={out} {'is a folder' if out.is_dir() else f'cannot be written: check {out.parent}'}")
    return out


def write(model: Model, out: pathlib.Path, *, is_folder: bool, every: int | None = None, **settings: Any) -> None:
    """Draw samples and write them to a file (`write_samples`) or a folder (`write_folder`), for `--mode=sample`.

    Args:
      model: model to sample from.
      out: path from `check_out`.
      is_folder: whether `out` is a folder.
      every: argument of `write_samples`.
      **settings: the other arguments of `write_samples` and `write_folder`.

    Raises:
      InputError: `every` is given for a folder.
    """
    if not is_folder:
        write_samples(model, out, every=every, **settings)
    elif every is None:
        write_folder(model, out, **settings)
    else:
        raise InputError(
            "--every shows the flow in a picture or an .npz file, not in a folder: leave out --every, or name a file"
        )


def picture(
    model: Model, samples: Float[np.ndarray, "n *event"], seed: int, labels: np.ndarray | None = None
) -> plotting.Picture:
    """Return a picture of samples: a grid of images, or a scatter plot of points over as many points of the data.

    Args:
      model: model of the samples.
      samples: the samples, as `sampling.sample` returns them.
      seed: seed of the points that are drawn from the data.
      labels: class of each sample, int [n]; the grid then has one row per class.
    """
    if labels is not None and model.experiment.is_image:
        return plotting.class_grid(samples, labels)
    if model.experiment.is_image:
        return plotting.image_grid(samples)
    data = builders.dataset(model.experiment).batch(seed, 0, len(samples))
    return plotting.scatter({"data": data, "samples": samples})


def write_samples(
    model: Model,
    out: pathlib.Path,
    *,
    num_samples: int,
    seed: int,
    num_steps: int,
    batch_size: int | None = None,
    every: int | None = None,
    condition: Condition | None = None,
) -> None:
    """Draw samples and write them to a file, which replaces an existing one only when it is complete.

    Without `every`, an .npz file is written batch by batch, so that only one batch is in memory.

    Args:
      model: model to sample from.
      out: `.png` for a picture; `.npz` for arrays `samples` and, with `every`, `steps` and `trajectory`.
      num_samples, seed, num_steps, batch_size: as in `sampling.sample`.
      every: number of flow steps between two states; with it the file has the flow, and not only the samples.
      condition: classes of the samples. An .npz file has them as `labels`, and a picture of samples has a row for each.
    """
    if every is None:
        batches = sampling.batches(model, seed, num_samples, num_steps, batch_size, condition=condition)
        labels = None if condition is None else condition.labels
        if out.suffix == ".npz":
            shape = (num_samples, *model.experiment.event_shape)
            _stream_npz(out, shape, batches, {} if labels is None else {"labels": labels})
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
        save_picture(out, plotting.flow_picture(times, states))
    else:
        with atomic(out) as path:
            np.savez(path, **arrays)


def _stream_npz(
    out: pathlib.Path,
    shape: tuple[int, ...],
    batches: Iterable[Float[np.ndarray, "batch *event"]],
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Write an .npz file batch by batch, with one batch in memory at a time; the same file as np.savez would write.

    Only the first host writes. The others still consume the batches, because all hosts compute them together.

    Args:
      out: path of the file.
      shape: shape of all samples together.
      batches: the samples, stored as float32 `samples`.
      arrays: further arrays of the file, by name.
    """
    if not sharding.is_first_host():
        for _ in batches:
            pass
        return
    with atomic(out) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        # zipfile must know before it writes a member whether that exceeds 2 GiB, as 50,000 images may: force_zip64.
        with file.open("samples.npy", "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            for batch in batches:
                member.write(np.ascontiguousarray(batch, "<f4").data)
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array)


def write_folder(
    model: Model,
    out: pathlib.Path,
    *,
    num_samples: int,
    seed: int,
    num_steps: int,
    batch_size: int | None = None,
    condition: Condition | None = None,
) -> None:
    """Draw images and write one PNG per sample: 000000.png, 000001.png, ..., each when its batch is done.

    Args:
      model: model to sample from.
      out: new or empty folder.
      num_samples, seed, num_steps, batch_size: as in `sampling.sample`.
      condition: classes of the samples.

    Raises:
      InputError: the samples are points.
    """
    if not model.experiment.is_image:
        raise InputError(f"--out={out}/ is for images, and this run makes points: use FILE.npz")
    num_written, is_writer = 0, sharding.is_first_host()
    if is_writer:
        out.mkdir(parents=True, exist_ok=True)
    for batch in sampling.batches(model, seed, num_samples, num_steps, batch_size, condition=condition):
        for image in to_uint8(batch) if is_writer else ():
            save_picture(out / f"{num_written:06d}.png", image[..., 0] if image.shape[-1] == 1 else image)
            num_written += 1
