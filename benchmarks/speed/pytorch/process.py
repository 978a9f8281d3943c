"""Start `benchmarks.speed.pytorch.server` with a Python that has PyTorch, and send it requests."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).parents[3]


class TorchError(Exception):
    """A request to the PyTorch process failed."""


class TorchProcess:
    """A running PyTorch process, to be closed after use or used as a context manager.

    Args:
      python: an executable that can import PyTorch.
    """

    def __init__(self, python: str = sys.executable) -> None:
        # Warnings are switched off: PyTorch's are about its own interfaces and would clutter the table.
        self._process = subprocess.Popen(
            [python, "-W", "ignore", "-m", "benchmarks.speed.pytorch.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"TORCH_LOGS": "-all"},
        )

    def __enter__(self) -> "TorchProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and wait for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Call the method `do` of `server.Server` with these arguments and return its answer.

        Raises:
          TorchError: the method failed, or the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise TorchError(f"the PyTorch process ended with exit code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise TorchError(f"{do}: {answer['error']}")
        return answer

    def seconds(self, form: str, row: str) -> float:
        """Return the seconds of one run of `row` in the form `form`, measured by the PyTorch process."""
        return self.ask("time", form=form, row=row)["seconds"]


def has_torch(python: str) -> bool:
    """Return True if that Python can import PyTorch."""
    done = subprocess.run([python, "-c", "import torch"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return done.returncode == 0
