"""What was written, so that a reader finds out whether it still is that: WORKDIR/manifest.json, and one in every step.

A manifest is a JSON object. These four are the same in every format:

    format    2; format 1 is that of runs without manifests
    version   of the fdrl_jax that wrote it
    body      see below
    sha256    of the three above, so that damage to the manifest itself is found too

The body of a run's is {"config", "files", "older"}: the fields of the config that a run keeps, by name; the SHA-256 of
`SETUP_FILES`; and by folder the steps that were there before there were manifests. It never changes. The body of a
step's is {"step", "run", "files", "pending"}: its number, the body of its run's, the SHA-256 of each file below the
step's folder, and the metrics of the steps that are in no line of metrics.jsonl yet.
"""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from fdrl_jax.files import atomic
from fdrl_jax.types import InputError
from fdrl_jax.untrusted import escapes, load_json, shown
from fdrl_jax.version import __version__

FORMAT = 2
MANIFEST_FILE = "manifest.json"
PRIOR_FILE = "prior.npz"
DATA_FILE = "data.json"
SETUP_FILES = (PRIOR_FILE, DATA_FILE)
CHECKPOINTS = "checkpoints"
BEST = "best"

# Groups and fields that may change between the runs of one directory: they do not change what a step computes. Files
# may be moved; that their images are the same is checked by data.json.
_MAY_CHANGE = ("config.train.", "config.diagnostics", "config.data.path", "config.data.cache", "config.prior.path")


class DamagedError(ValueError):
    """A manifest is not as it was written. The message is the reason, without the path."""


def fingerprint(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config that a run keeps to its end, by their names (config.flow.noise), as JSON reads them."""
    fields = {name: value for name, value in flat(config).items() if not name.startswith(_MAY_CHANGE)}
    return json.loads(json.dumps(fields))


def flat(tree: Any, prefix: str = "config") -> dict[str, Any]:
    """All fields of a config, by their names."""
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    return {k: v for name, sub in tree.items() for k, v in flat(sub, f"{prefix}.{name}").items()}


def differences(there: Mapping[str, Any], here: Mapping[str, Any], names: Iterable[str] | None = None) -> str:
    """The first three of the `names`, by default all, under which two mappings differ, with both values; "" if none."""
    different = [
        f"{name[:100]} is {shown(there.get(name, 'absent'))} there and {shown(here.get(name, 'absent'))} here"
        for name in sorted(there.keys() | here.keys() if names is None else names)
        if there.get(name) != here.get(name)
    ]
    more = f" (and {len(different) - 3} more)" if len(different) > 3 else ""
    return "; ".join(different[:3]) + more


def write(path: pathlib.Path, body: Mapping[str, Any]) -> None:
    """Write a manifest, whole or not at all. `body` is of what JSON has; floats come back as they were."""
    content = {"format": FORMAT, "version": __version__, "body": body}
    with atomic(path, durable=True) as temporary:
        temporary.write_text(json.dumps(content | {"sha256": _digest_of(content)}, indent=1) + "\n")


def read(path: pathlib.Path) -> dict[str, Any]:
    """The body of a manifest.

    Raises:
      FileNotFoundError: there is none.
      DamagedError: it is not as it was written, or cannot be read.
      InputError: it is of a newer format, and says what wrote it.
    """
    try:
        found = load_json(path)
        content = {name: found[name] for name in ("format", "version", "body")}
        if _digest_of(content) != found["sha256"] or not isinstance(content["body"], dict):
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


def _digest_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def digests(folder: pathlib.Path) -> dict[str, str]:
    """The SHA-256 of each file below `folder` but its manifest, by its path there."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST_FILE)
    return {path.relative_to(folder).as_posix(): _digest(path) for path in found}


def _digest(path: pathlib.Path) -> str:
    if path.exists() and not path.is_file():  # Of a pipe there would be no end.
        raise OSError(0, "no regular file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fault(folder: pathlib.Path, files: Mapping[str, str]) -> str:
    """What is wrong with the first file of `files` that is not as its digest has it, "" if all are."""
    for name, expected in files.items():
        if escapes(name):
            return f"its manifest names {name!r}, which is outside it"
        try:
            if _digest(folder / name) != expected:
                return f"{name} is not as it was written"
        except OSError as error:
            return f"{name} is missing" if isinstance(error, FileNotFoundError) else f"{name}: {error.strerror}"
    return ""


def steps_in(folder: pathlib.Path) -> list[int]:
    """The steps that have a folder there, whole or not, in order."""
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.iterdir() if path.is_dir())
    return sorted(int(name) for name in names if name.isascii() and name.isdigit() and name == str(int(name)))


# --- of a run ---


def write_run(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
    """Write the manifest of a run, whose setup lies in `workdir`. Steps that are there already count without one."""
    files = {name: _digest(workdir / name) for name in SETUP_FILES if (workdir / name).exists()}
    folders = {name: workdir / name for name in (CHECKPOINTS, BEST)}
    older = {k: [step for step in steps_in(path) if any((path / str(step)).iterdir())] for k, path in folders.items()}
    write(workdir / MANIFEST_FILE, {"config": fingerprint(config), "files": files, "older": older})


def _is_run(body: Any) -> bool:
    """Whether it says what the manifest of a run says. A checksum only tells that nothing changed since."""
    if not isinstance(body, dict) or not all(isinstance(body.get(name), dict) for name in ("config", "files", "older")):
        return False
    digests, steps = body["files"].values(), body["older"].values()
    return all(isinstance(d, str) for d in digests) and all(
        isinstance(s, list) and all(type(step) is int for step in s) for s in steps
    )


def read_run(workdir: pathlib.Path) -> dict[str, Any] | None:
    """The body of a run's manifest; None where the run is of format 1, or there is none.

    Where it is lost or damaged, it comes from the newest step: each has a copy.

    Raises:
      InputError: it is damaged and there is no copy, or it is of a newer format.
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
    """Write the run's manifest again where it is lost or damaged, or was never there; what was done, "" if nothing."""
    run = read_run(workdir)
    with contextlib.suppress(FileNotFoundError, DamagedError):
        if _is_run(read(workdir / MANIFEST_FILE)):
            return ""
    if run is None:
        write_run(workdir, config)
        return f"{workdir} is of format 1, without checksums: what it has is taken as it is"
    write(workdir / MANIFEST_FILE, run)
    return f"{workdir / MANIFEST_FILE} was lost or damaged: it is restored from a checkpoint"


def foreign(there: Mapping[str, Any] | None, here: Mapping[str, Any] | None) -> str:
    """How the body of a run's manifest that a step has differs from that of this run; "" if it does not."""
    if there == here:
        return ""
    if there is None or here is None:
        return "it is of another run"
    different = differences(there["config"], here["config"])
    return f"it is of another run: {different or 'its prior or its images are others'}"


def check_setup(workdir: pathlib.Path, name: str) -> None:
    """Refuse one of `SETUP_FILES` that is not the one which the run was begun with.

    Raises:
      InputError: it is damaged, or missing.
    """
    run = read_run(workdir)
    reason = fault(workdir, {name: run["files"][name]}) if run is not None and name in run["files"] else ""
    if reason:
        raise InputError(f"{workdir / name} is damaged ({reason}): restore {name} or use a new workdir")


def check_config(workdir: pathlib.Path, name: str, config: Mapping[str, Any]) -> None:
    """Refuse a config, read from the file `name`, that is not the one which the run was begun with.

    Raises:
      InputError: it differs; the first three differences.
    """
    run = read_run(workdir)
    # Only the names there: a newer version may have added fields, with defaults that change nothing.
    different = "" if run is None else differences(run["config"], fingerprint(config), run["config"])
    if different:
        raise InputError(
            f"{workdir / name} is damaged (not what the run was begun with: {different}): restore it or use a new "
            "workdir"
        )
