"""The checkpoints of a run: written in the background, and verified with checksums when they are read.

This is the only module that imports Orbax. Orbax alone restores wrong numbers without an error if a byte of a file has
changed, and takes an empty folder for the newest checkpoint. A checkpoint is therefore valid only with a manifest
(`manifest`), which is written after all its other files. The other files of a run are in `workdir_files`.
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

from fdrl_jax.experiment import manifest
from fdrl_jax.experiment.config_changes import differences
from fdrl_jax.experiment.manifest import CHECKPOINTS, MANIFEST_FILE
from fdrl_jax.methods.base import State
from fdrl_jax.methods.train_state import arrays
from fdrl_jax.types import InputError
from fdrl_jax.utils import orbax_errors, sharding
from fdrl_jax.utils.atomic_files import sync


class Checkpoints:
    """The checkpoints of one run. Leaving the context manager waits for a save that is still being written."""

    def __init__(self, workdir: pathlib.Path, keep: int | None = None, folder: str = CHECKPOINTS):
        """Open the checkpoints in a folder of a workdir.

        Args:
          workdir: the run's directory.
          keep: number of newest checkpoints to keep; None opens the folder for reading only.
          folder: name of the folder in `workdir`.
        """
        self._directory, self._keep = workdir.absolute() / folder, keep
        self._run_manifest = manifest.read_run(workdir)
        self._verified: set[int] = set()  # Steps whose files agree with their checksums.
        self._may_save = False
        self._manifest_thread: threading.Thread | None = None
        self._failure: Exception | None = None
        self._saving = 0
        self._unwritten: set[int] = set()
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                # `prune` removes old checkpoints, because Orbax would do it before the new one has its manifest.
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
        """Wait for a save that is still being written, and remove the partial files of saves that failed."""
        try:
            self.wait()
        finally:
            # After a failed save, Orbax raises its error once more here.
            with contextlib.suppress(*[Exception] * bool(self._unwritten)):
                self._manager.close()
            if sharding.is_first_host():
                for step in self._unwritten - set(self.all_steps()):
                    orbax_errors.remove_partial_step(self._directory, step)

    def all_steps(self) -> list[int]:
        """Return the steps of all checkpoints whose save was completed, in order; some may be damaged."""
        steps = manifest.steps_in(self._directory)
        complete = [step for step in steps if (self._folder(step) / MANIFEST_FILE).exists()]
        if self._run_manifest is None:
            older = [] if complete else steps
        else:
            older = self._run_manifest["older"].get(self._directory.name, [])
        return sorted({*complete, *(step for step in older if step in steps)})

    def newest(self) -> int | None:
        """Return the step of the newest undamaged checkpoint, the same on all hosts; None without a checkpoint.

        Damaged checkpoints are skipped, and a line is printed for each.

        Raises:
          InputError: all checkpoints are damaged, or one is of a newer format.
        """
        step = self._newest() if sharding.is_first_host() else None
        agreed = int(sharding.broadcast_from_first_host(-1 if step is None else step))
        return None if agreed < 0 else agreed

    def _newest(self) -> int | None:
        newest_damage = ""
        for step in reversed(manifest.steps_in(self._directory)):
            reason = self._fault(step)
            if not reason:
                return step
            print(f"checkpoint {self._folder(step)} is skipped: {reason}")
            if step in self.all_steps():
                newest_damage = newest_damage or f"{step}, {reason}"
        if newest_damage:
            raise InputError(
                f"all checkpoints in {self._directory} are damaged (the newest: {newest_damage}): restore one or use a "
                "new workdir"
            )
        return None

    def _folder(self, step: int) -> pathlib.Path:
        return self._directory / str(step)

    def _fault(self, step: int) -> str:
        """Return a description of what is wrong with a checkpoint; "" if its files agree with their checksums.

        Raises:
          InputError: the checkpoint is of a newer format.
        """
        if step in self._verified:
            return ""
        folder = self._folder(step)
        try:
            reason = manifest.checkpoint_fault(folder, step, self._run_manifest)
        except FileNotFoundError:
            if step not in self.all_steps():
                return "it has no manifest; its save was cut short, or goes on"
            reason = ""
            print(f"checkpoint {folder} is of format 1, without checksums: it is taken as it is")
        if not reason:
            self._verified.add(step)
        return reason

    def pending(self, step: int) -> list[dict[str, np.ndarray]]:
        """Return the metrics that were passed to `save` with an undamaged checkpoint, as float64 scalars."""
        path = self._folder(step) / MANIFEST_FILE
        try:
            rows = manifest.read(path)["pending"]
            return [{name: np.asarray(value, np.float64) for name, value in row.items()} for row in rows]
        except FileNotFoundError:  # Checkpoints of format 1 have no manifest.
            return []
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path} has no metrics as 'pending' ({error}): move that step away") from None

    def save(self, step: int, state: State, pending: Sequence[Mapping[str, Any]] = (), prune: bool = True) -> None:
        """Start to write `state` in the background; the caller may donate it at once.

        From an accelerator, Orbax copies the state before it returns. On a CPU it keeps the buffers, and XLA then
        copies them instead of reusing them (`tests/experiment/test_checkpoint.py` donates a state that is being
        written). Checksums are computed in the background too. A damaged or incomplete checkpoint of this step or a
        later one is renamed to STEP.damaged.

        Args:
          step: number of updates that `state` has had.
          state: the train state.
          pending: metrics (numbers) of the last steps, which no line of the log contains yet.
          prune: remove old checkpoints afterwards.

        Raises:
          InputError: this save or the previous one cannot be written; or there is an undamaged checkpoint of this step
            or a later one, because of which Orbax would skip the save.
        """
        self.wait()
        if not self._may_save:
            self._set_aside_later_steps(step)
        orbax_errors.silence_repeated_errors()
        self._saving = step
        try:
            saved = self._manager.save(step, args=ocp.args.Composite(state=ocp.args.StandardSave(state)))
        except Exception as error:
            raise self._not_written(error) from error
        if not saved:
            raise InputError(f"checkpoint {step} was not written: there is step {self._manager.latest_step()}")
        rows = [{name: float(value) for name, value in row.items()} for row in pending]
        if sharding.is_first_host():
            arguments = (step, rows, prune)
            self._manifest_thread = threading.Thread(target=self._write_manifest, args=arguments, name="manifest")
            self._manifest_thread.start()

    def _set_aside_later_steps(self, step: int) -> None:
        """Rename damaged checkpoints from `step` on, because Orbax would skip the save without an error."""
        later = [other for other in manifest.steps_in(self._directory) if other >= step]
        if sharding.is_first_host():
            for other in later:
                if not self._fault(other):
                    raise InputError(f"checkpoint {step} was not written: {self._directory} has step {other}")
        self.set_aside(later)
        self._may_save = True

    def set_aside(self, steps: Sequence[int]) -> None:
        """Rename checkpoints to STEP.damaged, so that they are ignored, and print a line for each; delete nothing."""
        sharding.barrier(f"{self._directory.name} is looked into")
        if sharding.is_first_host():
            for step in steps:
                folder, count = self._folder(step), 1
                while (aside := folder.with_name(f"{step}.damaged" + (f"-{count}" if count > 1 else ""))).exists():
                    count += 1
                folder.rename(aside)
                print(f"{folder} is renamed to {aside.name}")
        sharding.barrier(f"{self._directory.name} may be written")
        self._manager.reload()

    def _write_manifest(self, step: int, pending: list[dict[str, float]], prune: bool) -> None:
        """Wait until Orbax has written a checkpoint, then write its manifest. Runs in a thread."""
        try:
            self._manager.wait_until_finished()
            folder = self._folder(step)
            # After a loss of power, a manifest must not exist without the files that it lists.
            for path in (*folder.rglob("*"), folder, self._directory):
                sync(path)
            body = {"step": step, "run": self._run_manifest, "files": manifest.digests(folder), "pending": pending}
            manifest.write(folder / MANIFEST_FILE, body)
            self._verified.add(step)
            if prune:
                self.prune()
        except Exception as error:  # Raised by `wait` in the main thread.
            self._failure = error

    def prune(self) -> None:
        """Remove all checkpoints but the newest `keep`."""
        kept = self.all_steps()[-(self._keep or 0) :]
        if sharding.is_first_host():
            for step in manifest.steps_in(self._directory):
                if step < kept[0]:
                    # Without its manifest, a folder that a kill leaves half removed is not taken for a checkpoint.
                    (self._folder(step) / MANIFEST_FILE).unlink(missing_ok=True)
                    shutil.rmtree(self._folder(step), ignore_errors=True)

    def wait(self) -> None:
        """Wait until the last save is on the disk.

        Raises:
          InputError: it cannot be written.
        """
        if self._manifest_thread is not None:
            self._manifest_thread.join()
            self._manifest_thread = None
        elif not self._unwritten:
            try:
                self._manager.wait_until_finished()
            except Exception as error:
                raise self._not_written(error) from error
        failure, self._failure = self._failure, None
        if failure is not None:
            raise self._not_written(failure) from failure

    def _not_written(self, error: Exception) -> InputError:
        """Record that the current save failed, and return the error to raise."""
        self._unwritten.add(self._saving)
        last = max(set(self.all_steps()) - (self._unwritten - self._verified), default=None)
        previous = "there is none before" if last is None else f"checkpoint {last} is whole"
        return InputError(
            f"checkpoint {self._folder(self._saving)} cannot be written ({orbax_errors.reason(error)}); {previous}. "
            "Fix that, and repeat the same command to resume"
        )

    def restore(self, step: int, abstract_state: State) -> State:
        """Return the state of a checkpoint, replicated on all devices.

        Args:
          step: step of the checkpoint.
          abstract_state: the shapes and dtypes to expect (`jax.eval_shape`).

        Raises:
          InputError: the checkpoint is missing, damaged, or of another network.
        """
        replicated = sharding.replicated()
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated), abstract_state)
        try:
            # All hosts read the same files, so one host verifies them.
            reason = self._fault(step) if sharding.is_first_host() else ""
            if reason:
                raise ValueError(reason)
            # Orbax pads, cuts or casts arrays of another shape or dtype without an error.
            metadata = self._manager.item_metadata(step)["state"]
            if metadata is None:
                raise ValueError("it is incomplete")
            different = differences(arrays(metadata.tree), arrays(target))
            if different:
                raise ValueError(f"it is of another network: {different}")
            restored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target)))
        except InputError:
            raise
        except Exception as error:  # Orbax raises at least five types of error for damage.
            reason = orbax_errors.first_line(error)
            raise InputError(
                f"checkpoint {self._folder(step)} cannot be read: {reason}; move it away to use the one before"
            ) from error
        return restored["state"]
