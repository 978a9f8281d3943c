"""Files with the mean and covariance of features: those of pytorch-fid (.npz) and of torch-fidelity (.pt)."""

import pathlib
import pickle
import zipfile
from typing import Any

import numpy as np
from jaxtyping import Float

from fdrl_jax.models.convert import numpy_array, read_torch_file
from fdrl_jax.types import InputError
from fdrl_jax.utils.atomic_files import atomic
from fdrl_jax.utils.untrusted_files import open_npz

_NAMES = ("mu", "sigma")

# Largest asymmetry that is accepted, relative to the largest entry: a covariance computed in float32 is not exactly
# symmetric.
_ASYMMETRY = 1e-4


def read_statistics(path: str | pathlib.Path) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Return mean and covariance, float64. No code in the file is run.

    Args:
      path: a .npz with arrays `mu` [d] and `sigma` [d, d], or a .pt with a dict of the two.

    Raises:
      InputError: the file cannot be read, is damaged, or contains something else.
    """
    path = pathlib.Path(path)
    arrays = _read_npz(path) if _suffix(path) == ".npz" else _read_pt(path)
    for name in _NAMES:
        if name not in arrays:
            raise InputError(f"{path} has no {name!r}: it is not a file of a mean 'mu' and a covariance 'sigma'")
        array = arrays[name]
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise InputError(f"{path} has {name!r} that is not all finite numbers: make it again")
    mean, covariance = (arrays[name].astype(np.float64) for name in _NAMES)
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)) or len(mean) == 0:
        shapes = f"'mu' {list(mean.shape)} and 'sigma' {list(covariance.shape)}"
        raise InputError(f"{path} has {shapes}, not [d] and [d, d]: it is not a file of a mean and a covariance")
    if np.abs(covariance - covariance.T).max() > _ASYMMETRY * np.abs(covariance).max():
        raise InputError(f"{path} has 'sigma' that is not symmetric: it is damaged or not a covariance, make it again")
    return mean, covariance


def read_fingerprint(path: str | pathlib.Path) -> str | None:
    """Return the fingerprint of the feature space of a statistics file, or None if the file does not store it.

    Args:
      path: a .npz, which stores it if `write_statistics` received one, or a .pt, which never does.

    Raises:
      InputError: the file cannot be read, is damaged, or has another suffix.
    """
    path = pathlib.Path(path)
    if _suffix(path) != ".npz":
        return None
    fingerprint = _read_npz(path).get("fingerprint")
    return None if fingerprint is None else str(fingerprint)


def write_statistics(
    path: str | pathlib.Path,
    mean: Float[np.ndarray, " d"],
    covariance: Float[np.ndarray, "d d"],
    fingerprint: str = "",
) -> None:
    """Write a file that `read_statistics` can read, and also pytorch-fid (.npz) or torch-fidelity (.pt).

    In a .npz both arrays are float64, as pytorch-fid writes them. In a .pt the mean is float32, because torch-fidelity
    writes it so and refuses to compare means of two dtypes.

    Args:
      path: .npz or .pt, written atomically.
      mean, covariance: [d] and [d, d].
      fingerprint: fingerprint of the feature space (`Features.fingerprint`), stored as a third array of a .npz.

    Raises:
      InputError: the path has another suffix or cannot be written.
    """
    path = pathlib.Path(path)
    suffix = _suffix(path)
    try:
        with atomic(path) as temporary:
            if suffix == ".npz":
                arrays = {"mu": mean.astype(np.float64), "sigma": covariance.astype(np.float64)}
                extra = {"fingerprint": np.array(fingerprint)} if fingerprint else {}
                np.savez(temporary, **arrays, **extra)  # type: ignore[arg-type]
            else:
                _write_pt(temporary, {"mu": mean.astype(np.float32), "sigma": covariance.astype(np.float64)})
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}): choose another place") from None


def _suffix(path: pathlib.Path) -> str:
    if path.suffix not in (".npz", ".pt"):
        raise InputError(f"{path}: statistics are .npz files of pytorch-fid or .pt files of torch-fidelity")
    return path.suffix


def _read_npz(path: pathlib.Path) -> dict[str, Any]:
    try:
        with open_npz(path) as file:
            return {name: file[name] for name in (*_NAMES, "fingerprint") if name in file}
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): is the path right?") from None
    except Exception as error:  # zipfile, zlib and numpy each raise their own exceptions.
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise InputError(f"{path} is damaged, or not an .npz file ({reason}): copy it again") from None


def _read_pt(path: pathlib.Path) -> dict[str, Any]:
    content = read_torch_file(path, classes={"numpy.ndarray"})
    if not isinstance(content, dict):
        raise InputError(
            f"{path} holds a {type(content).__name__}, not a dict of 'mu' and 'sigma': is it the right file?"
        )
    try:
        return {name: numpy_array(value) for name, value in content.items() if name in _NAMES}
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): copy it again") from None


def _write_pt(path: pathlib.Path, content: dict[str, np.ndarray]) -> None:
    """Write a zip file like that of `torch.save` for an object without tensors: a pickle, byte order and version."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, 2))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
