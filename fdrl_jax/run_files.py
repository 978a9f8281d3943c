"""What a run keeps on disk, so that its directory alone is enough to resume it or to sample from it.

    WORKDIR/lock                while a process trains there: its number and its host
    WORKDIR/config.json         the config, written once the run is set up
    WORKDIR/prior.npz           the fitted prior, where there is something to fit
    WORKDIR/data.json           the digest of the training images, where they were read from files
    WORKDIR/manifest.json       checksums of the above, and the fields that the run keeps: see `manifest`
    WORKDIR/checkpoints/STEP/   orbax checkpoints of the `TrainState` after STEP updates, each with its manifest
    WORKDIR/rollbacks.json      where training went back from numbers gone bad: see `guard`
    WORKDIR/best/STEP/          the same, of the best step by `diagnostics.best`; WORKDIR/best.json says how good

Here what is written once, when a run is set up; the steps are in `checkpoint`, the manifests in `manifest`.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np

from fdrl_jax import manifest, sharding
from fdrl_jax.files import atomic
from fdrl_jax.manifest import BEST, CHECKPOINTS, DATA_FILE, PRIOR_FILE
from fdrl_jax.types import InputError
from fdrl_jax.untrusted import load_json, open_npz

CONFIG_FILE = "config.json"
BEST_FILE = "best.json"
LOCK_FILE = "lock"


def write_setup(
    workdir: pathlib.Path, config: dict[str, Any], prior_arrays: dict[str, np.ndarray], data_digest: str | None = None
) -> None:
    """Write what there is, the config last, so that its presence means that all of it is whole."""
    if data_digest is not None:
        with atomic(workdir / DATA_FILE, durable=True) as path:
            path.write_text(json.dumps({"digest": data_digest}) + "\n")
    if prior_arrays:
        with atomic(workdir / PRIOR_FILE, durable=True) as path:
            np.savez(path, **prior_arrays)  # type: ignore[arg-type]
    manifest.write_run(workdir, config)
    write_config(workdir, config)


def write_config(workdir: pathlib.Path, config: dict[str, Any]) -> None:
    """Write the config of a run that goes on with changes in what may change."""
    with atomic(workdir / CONFIG_FILE, durable=True) as path:
        path.write_text(json.dumps(config, indent=1) + "\n")


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Keep other processes from training in `workdir`, which is made if missing.

    The system lets go of the lock when the process ends, however it does. Reading needs none.

    Raises:
      InputError: another process holds it.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / LOCK_FILE
    while True:
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise InputError(
                    f"--workdir={workdir} is in use by {holder}: wait for it, stop it, or use a new workdir"
                ) from None
            # Whoever held it may have removed the file since it was opened.
            if not path.exists() or os.fstat(file.fileno()).st_ino != path.stat().st_ino:
                continue
            with contextlib.suppress(OSError):  # Who holds it is good to know; a full disk is found soon enough.
                os.truncate(file.fileno(), 0)
                os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def read_config(workdir: pathlib.Path) -> dict[str, Any] | None:
    """The config of the run in `workdir`, or None where none was started. Sequences come back as lists.

    Raises:
      InputError: the file is not a JSON object or not what the run was begun with, or checkpoints lie there without it.
    """
    path = workdir / CONFIG_FILE
    if (workdir / CHECKPOINTS).exists() and not (workdir / CHECKPOINTS).is_dir():
        raise InputError(f"{workdir / CHECKPOINTS} is not a folder: move it away or use a new workdir")
    if not path.exists():
        if (workdir / CHECKPOINTS).exists():
            raise InputError(f"{workdir} has {CHECKPOINTS}/ but no {CONFIG_FILE}: restore it or use a new workdir")
        return None
    try:
        config = load_json(path)
        if not isinstance(config, dict):
            raise ValueError("not a JSON object")
    except (ValueError, OSError) as error:
        raise InputError(f"{path} is damaged ({error}): restore it or use a new workdir") from None
    manifest.check_config(workdir, CONFIG_FILE, config)
    return config


def read_data_digest(workdir: pathlib.Path) -> str | None:
    """The digest of the images that the run in `workdir` was begun with; None where it keeps none.

    Raises:
      InputError: the file is damaged.
    """
    path = workdir / DATA_FILE
    manifest.check_setup(workdir, DATA_FILE)
    if not path.exists():
        return None
    try:
        return str(load_json(path)["digest"])
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): restore it or use a new workdir") from None


def read_best(workdir: pathlib.Path) -> dict[str, Any] | None:
    """{"step", "metric", "value"} of the best checkpoint kept; None where there is none.

    And "rollbacks", how many the run had had then (see `guard`), where there were some.

    Raises:
      InputError: the file is damaged.
    """
    path = workdir / BEST_FILE
    if not path.exists():
        return None
    try:
        best = load_json(path)
        found = {"step": int(best["step"]), "metric": str(best["metric"]), "value": float(best["value"])}
        return found | ({"rollbacks": int(best["rollbacks"])} if "rollbacks" in best else {})
    except (ValueError, OSError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"{path} is damaged ({error}): delete it and {BEST}/, or restore them") from None


def write_best(workdir: pathlib.Path, best: dict[str, Any]) -> None:
    """Say which step `best/` keeps, once it is kept."""
    with atomic(workdir / BEST_FILE, durable=True) as path:
        path.write_text(json.dumps(best) + "\n")


def remove_best(workdir: pathlib.Path) -> None:
    """Say that `best/` keeps no step."""
    if sharding.is_first_host():
        (workdir / BEST_FILE).unlink(missing_ok=True)


def read_prior(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of the fitted prior; empty where the file does not exist.

    Raises:
      InputError: the file cannot be read, or is not as it was written.
    """
    path = workdir / PRIOR_FILE
    manifest.check_setup(workdir, PRIOR_FILE)
    return read_arrays(path) if path.exists() else {}


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file.

    Raises:
      InputError: the file cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path")
    try:
        with open_npz(path) as arrays:
            return dict(arrays)
    except Exception as error:  # zipfile, zlib, numpy and the OS each have their own.
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"{path} is damaged ({reason}): restore it or use a new workdir") from None
