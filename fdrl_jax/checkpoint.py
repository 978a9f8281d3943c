"""What a run keeps on disk, so that its directory alone is enough to resume it or to sample from it.

    WORKDIR/config.json         the config, written once the run is set up
    WORKDIR/prior.npz           the fitted prior, where there is something to fit
    WORKDIR/data.json           the digest of the training images, where they were read from files
    WORKDIR/checkpoints/STEP/   orbax checkpoints of the `TrainState` after STEP updates
    WORKDIR/best/STEP/          the same, of the best step by `diagnostics.best`; WORKDIR/best.json says how good

The only module that imports orbax.
"""

import json
import pathlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from fdrl_jax import sharding
from fdrl_jax.files import atomic
from fdrl_jax.state import TrainState
from fdrl_jax.types import InputError

CONFIG_FILE = "config.json"
PRIOR_FILE = "prior.npz"
DATA_FILE = "data.json"
CHECKPOINTS = "checkpoints"
BEST = "best"
BEST_FILE = "best.json"


def write_setup(
    workdir: pathlib.Path, config: dict[str, Any], prior_arrays: dict[str, np.ndarray], data_digest: str | None = None
) -> None:
    """Write what there is, the config last, so that its presence means that all of it is whole."""
    if data_digest is not None:
        with atomic(workdir / DATA_FILE) as path:
            path.write_text(json.dumps({"digest": data_digest}) + "\n")
    if prior_arrays:
        with atomic(workdir / PRIOR_FILE) as path:
            np.savez(path, **prior_arrays)  # type: ignore[arg-type]
    with atomic(workdir / CONFIG_FILE) as path:
        path.write_text(json.dumps(config, indent=1) + "\n")


def read_config(workdir: pathlib.Path) -> dict[str, Any] | None:
    """The config of the run in `workdir`, or None where none was started. Sequences come back as lists.

    Raises:
      InputError: the file is not a JSON object, or checkpoints lie there without it.
    """
    path = workdir / CONFIG_FILE
    if (workdir / CHECKPOINTS).exists() and not (workdir / CHECKPOINTS).is_dir():
        raise InputError(f"{workdir / CHECKPOINTS} is not a folder: move it away or use a new workdir")
    if not path.exists():
        if (workdir / CHECKPOINTS).exists():
            raise InputError(f"{workdir} has {CHECKPOINTS}/ but no {CONFIG_FILE}: restore it or use a new workdir")
        return None
    try:
        config = json.loads(path.read_text())
        if not isinstance(config, dict):
            raise ValueError("not a JSON object")
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}): restore it or use a new workdir") from None
    return config


def read_data_digest(workdir: pathlib.Path) -> str | None:
    """The digest of the images that the run in `workdir` was begun with; None where it keeps none.

    Raises:
      InputError: the file is damaged.
    """
    path = workdir / DATA_FILE
    if not path.exists():
        return None
    try:
        return str(json.loads(path.read_text())["digest"])
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): restore it or use a new workdir") from None


def read_best(workdir: pathlib.Path) -> dict[str, Any] | None:
    """{"step", "metric", "value"} of the best checkpoint kept; None where there is none.

    Raises:
      InputError: the file is damaged.
    """
    path = workdir / BEST_FILE
    if not path.exists():
        return None
    try:
        best = json.loads(path.read_text())
        return {"step": int(best["step"]), "metric": str(best["metric"]), "value": float(best["value"])}
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): delete it and {BEST}/, or restore them") from None


def write_best(workdir: pathlib.Path, best: dict[str, Any]) -> None:
    """Say which step `best/` keeps, once it is kept."""
    with atomic(workdir / BEST_FILE) as path:
        path.write_text(json.dumps(best) + "\n")


def read_prior(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of the fitted prior; empty where the file does not exist.

    Raises:
      InputError: the file cannot be read.
    """
    path = workdir / PRIOR_FILE
    return read_arrays(path) if path.exists() else {}


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file.

    Raises:
      InputError: the file cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # zipfile, zlib, numpy and the OS each have their own.
        raise InputError(f"{path} is damaged ({type(error).__name__}): restore it or use a new workdir") from None


class Checkpoints:
    """The checkpoints of one run. A context manager: leaving it waits for a save still being written."""

    def __init__(self, workdir: pathlib.Path, keep: int | None = None, folder: str = CHECKPOINTS):
        """`keep` newest checkpoints are kept; None opens for reading only."""
        self._directory = workdir.absolute() / folder
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=keep is not None),
            item_handlers={"state": ocp.StandardCheckpointHandler()},
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for a save still being written."""
        self._manager.close()

    def latest_step(self) -> int | None:
        """The newest checkpoint's step, or None."""
        return self._manager.latest_step()

    def all_steps(self) -> list[int]:
        """The steps of all checkpoints, in order."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: TrainState) -> None:
        """Start writing `state`, which the caller may donate at once.

        Orbax copies it off an accelerator before it returns; on CPU it keeps the buffers, and XLA then copies rather
        than reuse them (`tests/test_checkpoint.py` donates a state that is being written).

        Raises:
          InputError: orbax skipped the save, as it does where a newer step lies in the directory.
        """
        if not self._manager.save(step, args=ocp.args.Composite(state=ocp.args.StandardSave(state))):
            raise InputError(f"checkpoint {step} was not written: {self._directory} has step {self.latest_step()}")

    def wait(self) -> None:
        """Until what was saved is on disk."""
        self._manager.wait_until_finished()

    def restore(self, step: int, abstract_state: TrainState) -> TrainState:
        """The state of checkpoint `step`.

        Args:
          step: one of the steps on disk.
          abstract_state: the shapes and dtypes to expect (`jax.eval_shape`).

        Raises:
          InputError: the checkpoint is missing, damaged, or of another network.
        """
        where = sharding.everywhere()
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), abstract_state)
        try:
            # Orbax itself pads, cuts and casts without a word what is not of the shape and dtype asked for.
            metadata = self._manager.item_metadata(step)["state"]
            if metadata is None:
                raise ValueError("it is incomplete")
            different = _differences(metadata.tree, target)
            if different:
                raise ValueError(f"it is of another network: {different}")
            restored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target)))
        except Exception as error:  # orbax raises at least five types for damage.
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise InputError(
                f"checkpoint {self._directory / str(step)} cannot be read: {reason}; move it away to use the one before"
            ) from error
        return restored["state"]


def _differences(stored: Any, wanted: Any) -> str:
    """The first array that is not the same in two trees of things with `shape` and `dtype`, or ""."""

    def describe(tree: Any) -> dict[str, str]:
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        names = (jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves)
        return {name: f"{np.dtype(x.dtype)} {x.shape}" for name, (_, x) in zip(names, leaves, strict=True)}

    old, new = describe(stored), describe(wanted)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            return f"{name} is {old.get(name, 'absent')} there, {new.get(name, 'absent')} in the config"
    return ""
