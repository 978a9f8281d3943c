"""Where a checkpoint cannot be written: what to say in one line, and what to clear away.

Orbax writes in threads of its own. What fails there is logged with a traceback, raised by its next call, and raised
again when it is closed; what tensorstore still had under way then calls into event loops that are gone.
"""

import logging
import os
import pathlib
import re
import shutil
import sys
from typing import Any


def reason(error: Exception) -> str:
    """What the system says is wrong, such as "No space left on device", or else the error's first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    code = re.search(r"os_error_code='(\d+)'", str(error))  # Of tensorstore's errors.
    return os.strerror(int(code[1])) if code else first_line(error)


def first_line(error: Exception) -> str:
    """The first line of an error's message, not too long; its type where it has none."""
    return str(error).strip().splitlines()[0][:400] if str(error).strip() else type(error).__name__


def sweep(directory: pathlib.Path, step: int) -> None:
    """Remove what was written of a step without a manifest: it takes room where there may be little."""
    for folder in (directory / str(step), *directory.glob(f"{step}.orbax-checkpoint-tmp*")):
        shutil.rmtree(folder, ignore_errors=True)


def _is_news(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR or "orbax" not in record.pathname


# What orbax logs as an error it raises too.
logging.getLogger("absl").addFilter(_is_news)


def hush() -> None:
    """Print nothing of callbacks that come after their save has failed."""
    before = sys.unraisablehook
    if getattr(before, "hushed", False):
        return

    def hook(unraisable: Any) -> None:
        if not (isinstance(unraisable.exc_value, RuntimeError) and "Event loop is closed" in str(unraisable.exc_value)):
            before(unraisable)

    hook.hushed = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook
