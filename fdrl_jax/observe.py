"""What a person sees of a training run: progress bar, metrics.jsonl, TensorBoard, sample pictures.

WORKDIR/metrics.jsonl       one JSON object a line: step, metrics averaged since the line before
WORKDIR/tensorboard/        the same, and the pictures
WORKDIR/diagnostics.jsonl   where the config has them: see `diagnostics`
WORKDIR/samples/STEP.png    samples from the same seed each time
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from tensorboardX import SummaryWriter
from tqdm.auto import tqdm

from fdrl_jax.files import atomic
from fdrl_jax.pictures import Picture
from fdrl_jax.untrusted import parse_json

METRICS_FILE = "metrics.jsonl"
DIAGNOSTICS_FILE = "diagnostics.jsonl"


def save_picture(path: pathlib.Path, picture: Picture | UInt8[np.ndarray, "_height _width"]) -> None:
    """Write a PNG, in colour or grey, whole or not at all."""
    with atomic(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


class Observer:
    """Logs of one run; a context manager.

    Opened at the step that training starts from, it drops what was logged beyond it: those steps are run again.
    """

    def __init__(self, workdir: pathlib.Path, start_step: int, num_steps: int, progress: bool):
        self._samples = workdir / "samples"
        self._samples.mkdir(exist_ok=True)
        self._diagnostics = workdir / DIAGNOSTICS_FILE
        for path in (workdir / METRICS_FILE, self._diagnostics):
            _drop_lines_after(path, start_step)
        self._metrics = (workdir / METRICS_FILE).open("a")
        self._writer = SummaryWriter(str(workdir / "tensorboard"), purge_step=start_step or None)
        self._bar = tqdm(
            initial=start_step, total=num_steps, desc="train", unit="step", disable=not progress, dynamic_ncols=True
        )

    def __enter__(self) -> "Observer":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        self._metrics.close()
        self._writer.close()

    def advance(self) -> None:
        """One more step was started."""
        self._bar.update()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics after `step` updates."""
        self._metrics.write(json.dumps({"step": step, **metrics}) + "\n")
        self._metrics.flush()
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._bar.set_postfix_str(
            f"loss {metrics['loss']:.4g}, ratio on data {metrics['ratio_data']:.3g}, "
            f"on samples {metrics['ratio_flow']:.3g}"
        )

    def diagnose(self, step: int, row: Mapping[str, Any]) -> None:
        """A line of diagnostics after `step` updates."""
        with self._diagnostics.open("a") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in row["metrics"].items():
            self._writer.add_scalar(f"diagnostics/{name}", value, step)

    def picture(self, step: int, picture: Picture) -> None:
        """Samples after `step` updates."""
        save_picture(self._samples / f"{step:08d}.png", picture)
        self._writer.add_image("samples", picture, step, dataformats="HWC")


class Silent:
    """An `Observer` that writes and shows nothing: of every host but the first."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self) -> None: ...

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def diagnose(self, step: int, row: Mapping[str, Any]) -> None: ...

    def picture(self, step: int, picture: None) -> None: ...


def _drop_lines_after(path: pathlib.Path, step: int) -> None:
    """Keep the lines of `path` up to `step`; what is no line of a step, such as one cut short by a kill, goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            if parse_json(line)["step"] > step:
                break
        except (ValueError, KeyError, TypeError):
            continue
        kept.append(line + "\n")
    with atomic(path) as temporary:
        temporary.write_text("".join(kept))


def mean_metrics(rows: list[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """Average each metric over steps, in float64."""
    return {name: float(np.mean([row[name] for row in rows], dtype=np.float64)) for name in rows[0]}
