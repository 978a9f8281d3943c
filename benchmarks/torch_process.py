"""Starts `benchmarks.torch_baseline` with a Python that has PyTorch, and talks to it."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]


class TorchError(Exception):
    """The PyTorch side could not do what it was asked."""


class TorchProcess:
    """A context manager; `ask` is one request and its answer."""

    def __init__(self, python: str = sys.executable) -> None:
        # Warnings of PyTorch about its own interfaces are of no use to the reader of a table.
        self._process = subprocess.Popen(
            [python, "-W", "ignore", "-m", "benchmarks.torch_baseline"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"TORCH_LOGS": "-all"},
        )

    def __enter__(self) -> "TorchProcess":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """What the function `do` of `torch_baseline.Session` returns.

        Raises:
          TorchError: it failed, or the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise TorchError(f"the process of PyTorch ended with code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise TorchError(f"{do}: {answer['error']}")
        return answer

    def seconds(self, form: str, row: str) -> float:
        """One run of a row, timed over there."""
        return self.ask("time", form=form, row=row)["seconds"]


def has_torch(python: str) -> bool:
    """Whether that Python can import PyTorch."""
    done = subprocess.run([python, "-c", "import torch"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return done.returncode == 0
