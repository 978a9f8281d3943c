"""The files of a run's directory, from which alone the run can be resumed or sampled, and the lock of that directory.

    WORKDIR/lock                exists while a process trains there; contains the process number and the host
    WORKDIR/config.json         the config, written last when the run is set up
    WORKDIR/prior.npz           arrays of the fitted prior, for priors that are fitted
    WORKDIR/data.json           digest of the training images, if they were read from files
    WORKDIR/manifest.json       checksums of the above, and the fields that may not change: see `manifest`
    WORKDIR/checkpoints/STEP/   Orbax checkpoint of the train state after STEP updates, with its own manifest
    WORKDIR/best/STEP/          the best checkpoint by config.diagnostics.best, in the same form
    WORKDIR/best.json           step, metric and value of the best checkpoint
    WORKDIR/rollbacks.json      steps to which training went back after it had diverged: see `training.stability`

The logs and pictures that training adds are listed in `training.run_log`. This module has the lock, and the files that
are written once, when a run is set up, and best.json; the others are in `checkpoint` and `manifest`.
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

from fdrl_jax.experiment import manifest
from fdrl_jax.experiment.manifest import BEST, CHECKPOINTS, DATA_FILE, PRIOR_FILE
from fdrl_jax.types import InputError
from fdrl_jax.utils import sharding
from fdrl_jax.utils.atomic_files import atomic
from fdrl_jax.utils.untrusted_files import load_json, open_npz

CONFIG_FILE = "config.json"
BEST_FILE = "best.json"
LOCK_FILE = "lock"
METRICS_FILE = "metrics.jsonl"
DIAGNOSTICS_FILE = "diagnostics.jsonl"
EVALUATION_FILE = "evaluation.jsonl"


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Prevent other processes from training in `workdir`, which is made if missing.

    The system releases the lock when the process ends for any reason. Reading a workdir needs no lock.

    Raises:
      InputError: another process has the lock.
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
            # The previous holder may have removed the file after it was opened here; such a lock protects nothing.
            if not path.exists() or os.fstat(file.fileno()).st_ino != path.stat().st_ino:
                continue
            # The holder's name is only a help to the user, and a full disk is reported by later writes.
            with contextlib.suppress(OSError):
                os.truncate(file.fileno(), 0)
                os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


# --- Files of the setup: config.json, prior.npz and data.json ---


def write_setup(
    workdir: pathlib.Path, config: dict[str, Any], prior_arrays: dict[str, np.ndarray], data_digest: str | None = None
) -> None:
    """Write the files of a new run, the config last, so that its presence shows that all of them are complete.

    Args:
      workdir: the run's directory.
      config: the normalised config.
      prior_arrays: arrays of the fitted prior, from `builders.prior_arrays`; {} writes no prior.npz.
      data_digest: digest of the training images; None writes no data.json.
    """
    if data_digest is not None:
        with atomic(workdir / DATA_FILE, durable=True) as path:
            path.write_text(json.dumps({"digest": data_digest}) + "\n")
    if prior_arrays:
        with atomic(workdir / PRIOR_FILE, durable=True) as path:
            np.savez(path, **prior_arrays)  # type: ignore[arg-type]
    manifest.write_run(workdir, config)
    write_config(workdir, config)


def write_config(workdir: pathlib.Path, config: dict[str, Any]) -> None:
    """Write the config of a new run, or of a resumed one whose config has changed as `config_changes` allows."""
    with atomic(workdir / CONFIG_FILE, durable=True) as path:
        path.write_text(json.dumps(config, indent=1) + "\n")


def read_config(workdir: pathlib.Path) -> dict[str, Any] | None:
    """Read the config of the run in `workdir`, with sequences as lists; None without a run.

    Raises:
      InputError: the file is not a JSON object, its fixed fields are not those that the run began with, or there are
        checkpoints without the file.
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
    """Read the digest of the images that the run in `workdir` began with; None if it was not stored.

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


def read_prior(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """Read the arrays of the fitted prior; {} without the file.

    Raises:
      InputError: the file cannot be read, or is not as it was written.
    """
    path = workdir / PRIOR_FILE
    manifest.check_setup(workdir, PRIOR_FILE)
    return read_arrays(path) if path.exists() else {}


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Read the arrays of a .npz file.

    Raises:
      InputError: the file does not exist or cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path")
    try:
        with open_npz(path) as arrays:
            return dict(arrays)
    except Exception as error:  # zipfile, zlib, numpy and the operating system raise different types.
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"{path} is damaged ({reason}): restore it or use a new workdir") from None


# --- The record of the best checkpoint: best.json ---


def read_best(workdir: pathlib.Path) -> dict[str, Any] | None:
    """Read {"step", "metric", "value"} of the best checkpoint; None without one.

    A run that had been rolled back before that checkpoint also has "rollbacks", the number of times (see
    `training.stability`).

    Raises:
      InputError: the file is damaged.
    """
    path = workdir / BEST_FILE
    if not path.exists():
        return None
    try:
        stored = load_json(path)
        best = {"step": int(stored["step"]), "metric": str(stored["metric"]), "value": float(stored["value"])}
        return best | ({"rollbacks": int(stored["rollbacks"])} if "rollbacks" in stored else {})
    except (ValueError, OSError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"{path} is damaged ({error}): delete it and {BEST}/, or restore them") from None


def write_best(workdir: pathlib.Path, best: dict[str, Any]) -> None:
    """Record the best checkpoint, after it was saved in `best/`."""
    with atomic(workdir / BEST_FILE, durable=True) as path:
        path.write_text(json.dumps(best) + "\n")


def remove_best(workdir: pathlib.Path) -> None:
    """Remove the record of the best checkpoint, so that none counts."""
    if sharding.is_first_host():
        (workdir / BEST_FILE).unlink(missing_ok=True)
