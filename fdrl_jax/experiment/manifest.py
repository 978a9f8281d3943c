"""Manifests: SHA-256 checksums that show whether files are as they were written. A run has one, and each checkpoint.

A manifest (manifest.json in the workdir, and in the folder of each checkpoint) is a JSON object. These four fields are
the same in every format:

    format    2; format 1 is that of runs without manifests
    version   version of fdrl_jax that wrote it
    body      see below
    sha256    checksum of the three fields above, which shows damage to the manifest itself

The body of a run's manifest is {"config", "files", "older"}: the fields of the config that may not change (see
`config_changes`), by their full names; the SHA-256 of each of `SETUP_FILES`; and, for each folder of checkpoints, the
steps that were written before there were manifests. It never changes.

The body of a checkpoint's manifest is {"step", "run", "files", "pending"}: its step; the body of the run's manifest;
the SHA-256 of each file in the checkpoint's folder; and the metrics of the last steps, which no line of metrics.jsonl
contains yet.
"""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from fdrl_jax.experiment.config_changes import differences, fixed_fields
from fdrl_jax.types import InputError
from fdrl_jax.utils.atomic_files import atomic
from fdrl_jax.utils.untrusted_files import escapes, load_json
from fdrl_jax.utils.version import __version__

FORMAT = 2
MANIFEST_FILE = "manifest.json"
PRIOR_FILE = "prior.npz"
DATA_FILE = "data.json"
SETUP_FILES = (PRIOR_FILE, DATA_FILE)
CHECKPOINTS = "checkpoints"
BEST = "best"


class DamagedError(ValueError):
    """A manifest is not as it was written. The message is the reason, without the path."""


def write(path: pathlib.Path, body: Mapping[str, Any]) -> None:
    """Write a manifest, completely or not at all.

    Args:
      path: the file to write.
      body: an object that JSON can store; floats are read back exactly.
    """
    content = {"format": FORMAT, "version": __version__, "body": body}
    with atomic(path, durable=True) as temporary:
        temporary.write_text(json.dumps(content | {"sha256": _json_digest(content)}, indent=1) + "\n")


def read(path: pathlib.Path) -> dict[str, Any]:
    """Read the body of a manifest.

    Raises:
      FileNotFoundError: the file does not exist.
      DamagedError: the manifest is not as it was written, or cannot be read.
      InputError: the manifest is of a newer format; the message names the version that wrote it.
    """
    try:
        stored = load_json(path)
        content = {name: stored[name] for name in ("format", "version", "body")}
        if _json_digest(content) != stored["sha256"] or not isinstance(content["body"], dict):
            raise DamagedError("its manifest is damaged")
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except (ValueError, TypeError, KeyError, OSError):
        raise DamagedError("its manifest is damaged") from None
    if type(content["format"]) is not int or content["format"] < 1:
        raise DamagedError("its manifest is damaged")
    if content["format"] != FORMAT:
        raise InputError(
            f"{path} is of format {content['format']}, and fdrl_jax {__version__} reads formats up to {FORMAT}: use "
            f"fdrl_jax {str(content['version'])[:40]}, which wrote it, or a newer one"
        )
    return content["body"]


def _json_digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def digests(folder: pathlib.Path) -> dict[str, str]:
    """Return the SHA-256 of each file below `folder`, except its manifest, by its path relative to `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST_FILE)
    return {path.relative_to(folder).as_posix(): _file_digest(path) for path in files}


def _file_digest(path: pathlib.Path) -> str:
    if path.exists() and not path.is_file():  # Reading a pipe may never end.
        raise OSError(0, "no regular file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fault(folder: pathlib.Path, files: Mapping[str, str]) -> str:
    """Return a description of the first file that does not have its checksum; "" if all files have theirs.

    Args:
      folder: the folder of the files.
      files: the SHA-256 of each file, by its path relative to `folder`.
    """
    for name, expected in files.items():
        if escapes(name):
            return f"its manifest names {name!r}, which is outside it"
        try:
            if _file_digest(folder / name) != expected:
                return f"{name} is not as it was written"
        except OSError as error:
            return f"{name} is missing" if isinstance(error, FileNotFoundError) else f"{name}: {error.strerror}"
    return ""


# --- Checkpoints ---


def steps_in(folder: pathlib.Path) -> list[int]:
    """Return the steps that have a folder in `folder`, complete or not, in order."""
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.iterdir() if path.is_dir())
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and name == str(int(name)))


def checkpoint_fault(folder: pathlib.Path, step: int, run: Mapping[str, Any] | None) -> str:
    """Return a description of what is wrong with a checkpoint; "" if it agrees with its manifest and is of this run.

    Args:
      folder: the checkpoint's folder.
      step: the step that the checkpoint should be of.
      run: the body of the run's manifest, from `read_run`.

    Raises:
      FileNotFoundError: the checkpoint has no manifest.
      InputError: the checkpoint is of a newer format.
    """
    try:
        body = read(folder / MANIFEST_FILE)
        if body["step"] != step:
            return f"it is of step {body['step']}"
        return _other_run(body["run"], run) or fault(folder, body["files"])
    except DamagedError as error:
        return str(error)
    except (KeyError, TypeError, AttributeError):
        return "its manifest is not one of a checkpoint"


def _other_run(stored: Mapping[str, Any] | None, run: Mapping[str, Any] | None) -> str:
    """Return how the run that a checkpoint was saved in differs from this one; "" if it is the same.

    Args:
      stored: the body of the run's manifest that the checkpoint's manifest contains.
      run: the body of this run's manifest.
    """
    if stored == run:
        return ""
    if stored is None or run is None:
        return "it is of another run"
    different = differences(stored["config"], run["config"])
    return f"it is of another run: {different or 'its prior or its images are others'}"


# --- The run ---


def write_run(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
    """Write the manifest of a run, after its `SETUP_FILES`. Existing checkpoints are valid without a manifest."""
    files = {name: _file_digest(workdir / name) for name in SETUP_FILES if (workdir / name).exists()}
    folders = {name: workdir / name for name in (CHECKPOINTS, BEST)}
    older = {k: [step for step in steps_in(path) if any((path / str(step)).iterdir())] for k, path in folders.items()}
    write(workdir / MANIFEST_FILE, {"config": fixed_fields(config), "files": files, "older": older})


def _is_run(body: Any) -> bool:
    """Return True for a body that has the fields of a run's manifest; the checksum alone does not show that."""
    if not isinstance(body, dict) or not all(isinstance(body.get(name), dict) for name in ("config", "files", "older")):
        return False
    digests, steps = body["files"].values(), body["older"].values()
    return all(isinstance(d, str) for d in digests) and all(
        isinstance(s, list) and all(type(step) is int for step in s) for s in steps
    )


def read_run(workdir: pathlib.Path) -> dict[str, Any] | None:
    """Read the body of a run's manifest; None without a run, or if the run is of format 1.

    If the file is missing or damaged, the body comes from the newest checkpoint, because each contains a copy.

    Raises:
      InputError: the manifest is damaged and there is no copy, or it is of a newer format.
    """
    path, damaged = workdir / MANIFEST_FILE, False
    try:
        run = read(path)
        if _is_run(run):
            return run
        damaged = True
    except FileNotFoundError:
        pass
    except DamagedError:
        damaged = True
    for folder in (workdir / CHECKPOINTS, workdir / BEST):
        for step in reversed(steps_in(folder)):
            try:
                copy = read(folder / str(step) / MANIFEST_FILE).get("run")
            except (FileNotFoundError, DamagedError):
                continue
            if _is_run(copy):
                return copy
    if damaged:
        raise InputError(f"{path} is damaged: restore it or use a new workdir")
    return None


def complete_run(workdir: pathlib.Path, config: Mapping[str, Any]) -> str:
    """Write the run's manifest again if it is missing or damaged. Return a line that says so; "" if it is in order."""
    run = read_run(workdir)
    with contextlib.suppress(FileNotFoundError, DamagedError):
        if _is_run(read(workdir / MANIFEST_FILE)):
            return ""
    if run is None:
        write_run(workdir, config)
        return f"{workdir} is of format 1, without checksums: what it has is taken as it is"
    write(workdir / MANIFEST_FILE, run)
    return f"{workdir / MANIFEST_FILE} was lost or damaged: it is restored from a checkpoint"


def check_setup(workdir: pathlib.Path, name: str) -> None:
    """Refuse a file of `SETUP_FILES` that is not as it was when the run began.

    Raises:
      InputError: the file is damaged or missing.
    """
    run = read_run(workdir)
    reason = fault(workdir, {name: run["files"][name]}) if run is not None and name in run["files"] else ""
    if reason:
        raise InputError(f"{workdir / name} is damaged ({reason}): restore {name} or use a new workdir")


def check_config(workdir: pathlib.Path, name: str, config: Mapping[str, Any]) -> None:
    """Refuse a config, read from the file `name`, with other fixed fields than the run began with.

    Raises:
      InputError: the config differs; the message has the first three differences.
    """
    run = read_run(workdir)
    # Fields that the manifest lacks are not compared: a newer version may have added them, with defaults that change
    # nothing.
    different = "" if run is None else differences(run["config"], fixed_fields(config), run["config"])
    if different:
        raise InputError(
            f"{workdir / name} is damaged (not what the run was begun with: {different}): restore it or use a new "
            "workdir"
        )
