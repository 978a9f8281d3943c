"""Files of pretrained weights of feature networks (Inception v3): cache lookup, download, check of the digest."""

import hashlib
import http.client
import os
import pathlib
import re
import urllib.error
import urllib.request
from typing import Any

from absl import logging

from fdrl_jax.models.convert import read_safetensors, read_torch_file
from fdrl_jax.models.folded_batch_norm import Weights
from fdrl_jax.types import InputError
from fdrl_jax.utils.atomic_files import atomic

_RELEASES = "https://github.com/{}/releases/download/{}"

# Download addresses by feature space. The two files for "inception" are identical.
URLS = {
    "inception": (
        _RELEASES.format("mseitzer/pytorch-fid", "fid_weights/pt_inception-2015-12-05-6726825d.pth"),
        _RELEASES.format("toshas/torch-fidelity", "v0.2.0/weights-inception-2015-12-05-6726825d.pth"),
    ),
    "inception-torchvision": ("https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",),
}

_TIMEOUT_S = 30


def cache_folder() -> pathlib.Path:
    """Return the folder for downloaded files: the environment variable FDRL_JAX_CACHE, or ~/.cache/fdrl_jax."""
    return pathlib.Path(os.environ.get("FDRL_JAX_CACHE") or pathlib.Path.home() / ".cache" / "fdrl_jax")


def find_weights(name: str, path: str | pathlib.Path | None = None) -> pathlib.Path:
    """Return the file with the weights of feature space `name`, and download it if the cache does not have it.

    Args:
      name: a key of `URLS`.
      path: the user's own file, which is returned unchanged; None for the cache.

    Raises:
      InputError: the user's file does not exist, the download fails, or the downloaded file has the wrong digest.
    """
    if path is not None:
        if not pathlib.Path(path).is_file():
            raise InputError(f"weights {path} is not a file: is the path right?")
        return pathlib.Path(path)
    folder = cache_folder()
    for url in URLS[name]:
        file = folder / url.rpartition("/")[2]
        if file.is_file():
            return file
    return _download(URLS[name][0], folder)


def _download(url: str, folder: pathlib.Path) -> pathlib.Path:
    file = folder / url.rpartition("/")[2]
    logging.info("downloading %s to %s", url, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(file) as temporary:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as stream, open(temporary, "wb") as out:
                while block := stream.read(2**20):
                    out.write(block)
            _checked_digest(temporary, file.name)
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors.
        reason = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise InputError(f"{url} cannot be downloaded ({reason}): put a copy of that file into {folder}") from None
    return file


def read_weights(path: str | pathlib.Path) -> tuple[Weights, str]:
    """Return the tensors by name, and the SHA-256 of the file in hexadecimal.

    PyTorch ends the names of its files with the first digits of their SHA-256. A file with such a name must have that
    digest.

    Args:
      path: a state_dict written by `torch.save`, or a .safetensors file. No code in it is run.

    Raises:
      InputError: the file cannot be read, is damaged, or contains something else.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"weights {path} is not a file: is the path right?")
    digest = _checked_digest(path, path.name)
    content: Any = read_safetensors(path) if path.suffix == ".safetensors" else read_torch_file(path)
    if not isinstance(content, dict):
        raise InputError(
            f"{path} holds a {type(content).__name__}, not the tensors of a network: is it the right file?"
        )
    return content, digest


def _checked_digest(path: pathlib.Path, name: str) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Args:
      path: the file.
      name: the name that the file has, or will have after a download.

    Raises:
      InputError: the file cannot be read, or `name` contains another digest.
    """
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): is the path right?") from None
    stated = re.search(r"-([0-9a-f]{8,64})\.[^.]+$", name)
    if stated and not digest.startswith(stated[1]):
        raise InputError(
            f"{name} has SHA-256 {digest[:8]}..., not {stated[1]}...: it is damaged or another file, download it again"
        )
    return digest
