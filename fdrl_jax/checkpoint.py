"""The checkpoints of a run: saved in the background, checked when they are read. The rest of its files: `run_files`.

The only module that imports orbax. Orbax by itself restores wrong numbers without a word where a byte has changed, and
takes an empty folder for the newest step; so a step counts only with a manifest, which is written when all else is.
"""

import contextlib
import pathlib
import shutil
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from fdrl_jax import manifest, sharding, write_errors
from fdrl_jax.files import sync
from fdrl_jax.manifest import BEST as BEST
from fdrl_jax.manifest import CHECKPOINTS, MANIFEST_FILE
from fdrl_jax.run_files import BEST_FILE as BEST_FILE
from fdrl_jax.run_files import CONFIG_FILE as CONFIG_FILE
from fdrl_jax.run_files import locked as locked
from fdrl_jax.run_files import read_arrays as read_arrays
from fdrl_jax.run_files import read_best as read_best
from fdrl_jax.run_files import read_config as read_config
from fdrl_jax.run_files import read_data_digest as read_data_digest
from fdrl_jax.run_files import read_prior as read_prior
from fdrl_jax.run_files import remove_best as remove_best
from fdrl_jax.run_files import write_best as write_best
from fdrl_jax.run_files import write_config as write_config
from fdrl_jax.run_files import write_setup as write_setup
from fdrl_jax.state import TrainState, arrays
from fdrl_jax.types import InputError


class Checkpoints:
    """The checkpoints of one run. A context manager: leaving it waits for a save still being written."""

    def __init__(self, workdir: pathlib.Path, keep: int | None = None, folder: str = CHECKPOINTS):
        """`keep` newest checkpoints are kept; None opens for reading only."""
        self._directory, self._keep = workdir.absolute() / folder, keep
        self._run = manifest.read_run(workdir)
        self._good: set[int] = set()  # Steps found as they were written.
        self._may_save = False
        self._sealing: threading.Thread | None = None
        self._failure: Exception | None = None
        self._saving = 0
        self._unwritten: set[int] = set()
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                # Old steps are removed by `prune`: orbax would do it before the new one has its manifest.
                max_to_keep=None,
                create=keep is not None,
                cleanup_tmp_directories=keep is not None,
                lightweight_initialize=True,
            ),
            item_handlers={"state": ocp.StandardCheckpointHandler()},
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for a save still being written."""
        try:
            self.wait()
        finally:
            # Where a save failed it raises that once more.
            with contextlib.suppress(*[Exception] * bool(self._unwritten)):
                self._manager.close()
            if sharding.is_first_host():
                for step in self._unwritten - set(self.all_steps()):
                    write_errors.sweep(self._directory, step)

    def latest_step(self) -> int | None:
        """The newest checkpoint's step, or None; it may be damaged."""
        return max(self.all_steps(), default=None)

    def all_steps(self) -> list[int]:
        """The steps of all checkpoints whose save was finished, in order; some may be damaged."""
        steps = manifest.steps_in(self._directory)
        sealed = [step for step in steps if (self._folder(step) / MANIFEST_FILE).exists()]
        older = (steps if not sealed else []) if self._run is None else self._run["older"].get(self._directory.name, [])
        return sorted({*sealed, *(step for step in older if step in steps)})

    def newest(self) -> int | None:
        """The newest step that is as it was written, or None where there is none yet. Others are named in a line each.

        Raises:
          InputError: there are checkpoints, and all are damaged; or one is of a newer format.
        """
        found = self._newest() if sharding.is_first_host() else None
        agreed = int(sharding.from_first_host(-1 if found is None else found))
        return None if agreed < 0 else agreed

    def _newest(self) -> int | None:
        last = ""
        for step in reversed(manifest.steps_in(self._directory)):
            reason = self._fault(step)
            if not reason:
                return step
            print(f"checkpoint {self._folder(step)} is skipped: {reason}")
            if step in self.all_steps():
                last = last or f"{step}, {reason}"
        if last:
            raise InputError(
                f"all checkpoints in {self._directory} are damaged (the newest: {last}): restore one or use a new "
                "workdir"
            )
        return None

    def _folder(self, step: int) -> pathlib.Path:
        return self._directory / str(step)

    def _fault(self, step: int) -> str:
        """What is wrong with a step, or "".

        Raises:
          InputError: it is of a newer format.
        """
        if step in self._good:
            return ""
        folder = self._folder(step)
        try:
            body = manifest.read(folder / MANIFEST_FILE)
            reason = (
                manifest.foreign(body["run"], self._run) if body["step"] == step else f"it is of step {body['step']}"
            )
            reason = reason or manifest.fault(folder, body["files"])
        except FileNotFoundError:
            if step not in self.all_steps():
                return "it has no manifest; its save was cut short, or goes on"
            reason = ""
            print(f"checkpoint {folder} is of format 1, without checksums: it is taken as it is")
        except manifest.DamagedError as error:
            reason = str(error)
        except (KeyError, TypeError, AttributeError):
            reason = "its manifest is not one of a checkpoint"
        if not reason:
            self._good.add(step)
        return reason

    def pending(self, step: int) -> list[dict[str, np.ndarray]]:
        """What `save` was given with a step that can be restored."""
        path = self._folder(step) / MANIFEST_FILE
        try:
            rows = manifest.read(path)["pending"]
            return [{name: np.asarray(value, np.float64) for name, value in row.items()} for row in rows]
        except FileNotFoundError:  # Of format 1.
            return []
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path} has no metrics as 'pending' ({error}): move that step away") from None

    def save(self, step: int, state: TrainState, pending: Sequence[Mapping[str, Any]] = (), prune: bool = True) -> None:
        """Start writing `state`, which the caller may donate at once.

        Orbax copies it off an accelerator before it returns; on CPU it keeps the buffers, and XLA then copies rather
        than reuse them (`tests/test_checkpoint.py` donates a state that is being written). Checksums are taken in the
        background too. A damaged or unfinished step that is in the way is renamed to STEP.damaged.

        Args:
          pending: metrics (numbers) of the last steps that are in no line of the log yet.
          prune: then remove old steps.

        Raises:
          InputError: this save or the one before cannot be written; or orbax skipped it, as it does where a newer step
            lies in the directory.
        """
        self.wait()
        if not self._may_save:
            self._clear_the_way(step)
        write_errors.hush()
        self._saving = step
        try:
            saved = self._manager.save(step, args=ocp.args.Composite(state=ocp.args.StandardSave(state)))
        except Exception as error:
            raise self._not_written(error) from error
        if not saved:
            raise InputError(f"checkpoint {step} was not written: there is step {self._manager.latest_step()}")
        rows = [{name: float(value) for name, value in row.items()} for row in pending]
        if sharding.is_first_host():
            self._sealing = threading.Thread(target=self._seal, args=(step, rows, prune), name="manifest")
            self._sealing.start()

    def _clear_the_way(self, step: int) -> None:
        """Orbax skips a save without a word where there is a newer step, whole or not."""
        newer = [other for other in manifest.steps_in(self._directory) if other >= step]
        if sharding.is_first_host():
            for other in newer:
                if not self._fault(other):
                    raise InputError(f"checkpoint {step} was not written: {self._directory} has step {other}")
        self.set_aside(newer)
        self._may_save = True

    def set_aside(self, steps: Sequence[int]) -> None:
        """Rename steps, so that they do not count, and say so. Nothing is deleted."""
        sharding.wait_for_all(f"{self._directory.name} is looked into")
        if sharding.is_first_host():
            for step in steps:
                folder, count = self._folder(step), 1
                while (aside := folder.with_name(f"{step}.damaged" + (f"-{count}" if count > 1 else ""))).exists():
                    count += 1
                folder.rename(aside)
                print(f"{folder} is renamed to {aside.name}")
        sharding.wait_for_all(f"{self._directory.name} may be written")
        self._manager.reload()

    def _seal(self, step: int, pending: list[dict[str, float]], prune: bool) -> None:
        """When orbax has written a step, write its manifest. Runs in a thread."""
        try:
            self._manager.wait_until_finished()
            folder = self._folder(step)
            # First: after a loss of power a manifest must not be there without what it names.
            for path in (*folder.rglob("*"), folder, self._directory):
                sync(path)
            body = {"step": step, "run": self._run, "files": manifest.digests(folder), "pending": pending}
            manifest.write(folder / MANIFEST_FILE, body)
            self._good.add(step)
            if prune:
                self.prune()
        except Exception as error:  # `wait` raises it.
            self._failure = error

    def prune(self) -> None:
        """Remove all but the newest steps."""
        kept = self.all_steps()[-(self._keep or 0) :]
        if sharding.is_first_host():
            for step in manifest.steps_in(self._directory):
                if step < kept[0]:
                    # The manifest first: what is left by a kill in between is not taken for a damaged checkpoint.
                    (self._folder(step) / MANIFEST_FILE).unlink(missing_ok=True)
                    shutil.rmtree(self._folder(step), ignore_errors=True)

    def wait(self) -> None:
        """Until what was saved is on disk.

        Raises:
          InputError: it cannot be written.
        """
        if self._sealing is not None:
            self._sealing.join()
            self._sealing = None
        elif not self._unwritten:
            try:
                self._manager.wait_until_finished()
            except Exception as error:
                raise self._not_written(error) from error
        failure, self._failure = self._failure, None
        if failure is not None:
            raise self._not_written(failure) from failure

    def _not_written(self, error: Exception) -> InputError:
        """What to raise where a save failed."""
        self._unwritten.add(self._saving)
        last = max(set(self.all_steps()) - (self._unwritten - self._good), default=None)
        kept = "there is none before" if last is None else f"checkpoint {last} is whole"
        return InputError(
            f"checkpoint {self._folder(self._saving)} cannot be written ({write_errors.reason(error)}); {kept}. "
            "Mend that, and the same command goes on"
        )

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
            # All hosts read the same files.
            reason = self._fault(step) if sharding.is_first_host() else ""
            if reason:
                raise ValueError(reason)
            # Orbax itself pads, cuts and casts without a word what is not of the shape and dtype asked for.
            metadata = self._manager.item_metadata(step)["state"]
            if metadata is None:
                raise ValueError("it is incomplete")
            different = manifest.differences(arrays(metadata.tree), arrays(target))
            if different:
                raise ValueError(f"it is of another network: {different}")
            restored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target)))
        except InputError:
            raise
        except Exception as error:  # orbax raises at least five types for damage.
            reason = write_errors.first_line(error)
            raise InputError(
                f"checkpoint {self._folder(step)} cannot be read: {reason}; move it away to use the one before"
            ) from error
        return restored["state"]
