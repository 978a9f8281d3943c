"""The log of a training run: progress bar, metrics.jsonl, TensorBoard, sample pictures.

WORKDIR/metrics.jsonl       one JSON object a line: step, metrics averaged since the line before
WORKDIR/tensorboard/        the same metrics, and the pictures
WORKDIR/diagnostics.jsonl   diagnostics, if the config asks for them: see `training.diagnostics`
WORKDIR/samples/STEP.png    samples from the same seed each time

When the disk refuses a line, the log reports it once and training continues. Lines are kept in memory, and are written
when the disk accepts them again.
"""

import contextlib
import json
import pathlib
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c
from tqdm.auto import tqdm

from fdrl_jax.experiment.workdir_files import DIAGNOSTICS_FILE, METRICS_FILE
from fdrl_jax.methods.base import Reduction
from fdrl_jax.utils.atomic_files import AppendOnlyFile, truncate
from fdrl_jax.utils.plotting import Picture, save_picture
from fdrl_jax.utils.untrusted_files import parse_json


class RunLog:
    """The log of one run; a context manager.

    When it is opened, it deletes lines beyond the step that training starts from: those steps are trained again.

    Raises:
      OSError: these lines cannot be deleted.
    """

    def __init__(self, workdir: pathlib.Path, start_step: int, num_steps: int, progress: bool):
        self._samples = workdir / "samples"
        for path in (workdir / METRICS_FILE, workdir / DIAGNOSTICS_FILE):
            _drop_lines_after(path, start_step)
        self._metrics, self._diagnostics = (AppendOnlyFile(workdir / name) for name in (METRICS_FILE, DIAGNOSTICS_FILE))
        self._events = _Events(workdir / "tensorboard", start_step)
        self._failing: set[str] = set()
        self._bar = tqdm(
            initial=start_step, total=num_steps, desc="train", unit="step", disable=not progress, dynamic_ncols=True
        )

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        for file in (self._metrics, self._diagnostics):
            if file.waiting:
                with contextlib.suppress(OSError):
                    file.flush()
            if file.waiting:
                print(f"{file.path} lacks its last {file.waiting} lines, which could not be written")

    def advance(self) -> None:
        """Move the progress bar by one step."""
        self._bar.update()

    def log(self, step: int, metrics: Mapping[str, float], progress: str = "") -> None:
        """Write metrics after `step` updates; `progress` is what the progress bar shows of them."""
        with self._trying(METRICS_FILE):
            self._metrics.add(_line({"step": step, **metrics}))
        with self._trying("tensorboard"):
            self._events.add(step, [summary.scalar(name, value) for name, value in metrics.items()])
        self._bar.set_postfix_str(progress)

    def diagnose(self, step: int, row: Mapping[str, Any]) -> None:
        """Write a line of diagnostics after `step` updates."""
        with self._trying(DIAGNOSTICS_FILE):
            self._diagnostics.add(_line(row))
        with self._trying("tensorboard"):
            self._events.add(step, [summary.scalar(f"diagnostics/{k}", v) for k, v in row["metrics"].items()])

    def picture(self, step: int, picture: Picture) -> None:
        """Write a picture of samples after `step` updates."""
        with self._trying("samples"):
            self._samples.mkdir(parents=True, exist_ok=True)
            save_picture(self._samples / f"{step:08d}.png", picture)
        with self._trying("tensorboard"):
            self._events.add(step, [summary.image("samples", picture, dataformats="HWC")])

    @contextlib.contextmanager
    def _trying(self, what: str) -> Iterator[None]:
        """Report once that `what` cannot be written, and once that it can be again; training continues without it."""
        try:
            yield
        except OSError as error:
            if what not in self._failing:
                print(f"{what} cannot be written ({error.strerror}): training goes on without")
            self._failing.add(what)
        else:
            if what in self._failing:
                print(f"{what} can be written again")
            self._failing.discard(what)


class _Events:
    """TensorBoard's event file of one run.

    tensorboardX's own writer is not used: its thread ends with the first error, and the loop would wait for it forever.
    """

    def __init__(self, folder: pathlib.Path, start_step: int):
        resumed = folder.is_dir() and any(folder.iterdir())
        # TensorBoard reads a folder's files in the order of their names.
        self._file = AppendOnlyFile(folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}")
        self._head = [event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2")]
        if resumed:  # TensorBoard then hides the events of older files from this step on.
            begun = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._head.append(event_pb2.Event(wall_time=time.time(), step=start_step, session_log=begun))

    def add(self, step: int, summaries: Iterable[Any]) -> None:
        events = [event_pb2.Event(wall_time=time.time(), step=step, summary=each) for each in summaries]
        head, self._head = self._head, []
        self._file.add(b"".join(_record(event.SerializeToString()) for event in head + events))


def _record(content: bytes) -> bytes:
    """The content framed as TensorFlow frames records: the length, its checksum, the content, its checksum."""
    length = struct.pack("<Q", len(content))
    return b"".join(part + struct.pack("<I", masked_crc32c(part)) for part in (length, content))


def _line(row: Mapping[str, Any]) -> bytes:
    return (json.dumps(row) + "\n").encode()


class NullLog:
    """A `RunLog` that writes and shows nothing, for every host but the first."""

    def __enter__(self) -> "NullLog":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self) -> None: ...

    def log(self, step: int, metrics: Mapping[str, float], progress: str = "") -> None: ...

    def diagnose(self, step: int, row: Mapping[str, Any]) -> None: ...

    def picture(self, step: int, picture: None) -> None: ...


def _drop_lines_after(path: pathlib.Path, step: int) -> None:
    """Delete the lines of `path` beyond `step`, and a last line that a kill cut short."""
    if path.exists():
        truncate(path, max((end for end, _ in _lines_until(path, step)), default=0))


def _lines_until(path: pathlib.Path, step: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines up to `step`, each with the offset of its end in bytes; damaged lines are skipped."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            end += len(line)
            try:
                row = parse_json(line.decode())
                if row["step"] > step or not line.endswith(b"\n"):
                    return
            except (ValueError, KeyError, TypeError):
                continue
            yield end, row


def losses(workdir: pathlib.Path, step: int) -> list[float]:
    """The loss of each line that metrics.jsonl has up to `step`."""
    path = workdir / METRICS_FILE
    rows = [row for _, row in _lines_until(path, step)] if path.exists() else []
    return [float(row["loss"]) for row in rows if isinstance(row.get("loss"), float)]


def line_of(rows: Sequence[Mapping[str, np.ndarray]], reductions: Mapping[str, Reduction]) -> dict[str, float]:
    """Each metric of some steps as one number in float64, by `reductions`; one that is not named there is averaged."""
    # Checkpoints of older versions may keep steps without a metric.
    values = {name: np.array([row[name] for row in rows if name in row], np.float64) for name in rows[-1]}
    return {name: float(x.max() if reductions.get(name) == "max" else x.mean()) for name, x in values.items()}
