"""Errors of Orbax when a checkpoint cannot be written: a message of one line, and removal of the partial files.

Orbax writes in threads of its own. An error there is logged with a traceback, raised by the next call of Orbax, and
raised again when the manager is closed. Writes that tensorstore had not finished then call into event loops that are
closed already, which prints more tracebacks.
"""

import logging
import os
import pathlib
import re
import shutil
import sys
from typing import Any


def reason(error: Exception) -> str:
    """Return the operating system's message, such as "No space left on device", or else the error's first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    code = re.search(r"os_error_code='(\d+)'", str(error))  # The format of tensorstore's messages.
    return os.strerror(int(code[1])) if code else first_line(error)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, at most 400 characters, or its type if the message is empty."""
    return str(error).strip().splitlines()[0][:400] if str(error).strip() else type(error).__name__


def remove_partial_step(directory: pathlib.Path, step: int) -> None:
    """Remove the files of a step whose save failed. The disk may be full, so the space is needed."""
    for folder in (directory / str(step), *directory.glob(f"{step}.orbax-checkpoint-tmp*")):
        shutil.rmtree(folder, ignore_errors=True)


def _is_not_orbax_error(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR or "orbax" not in record.pathname


# Every error that Orbax logs is raised as well, so the log entry would repeat it.
logging.getLogger("absl").addFilter(_is_not_orbax_error)


def silence_repeated_errors() -> None:
    """Silence the errors of callbacks that run after their save has failed. Calling this twice changes nothing."""
    previous = sys.unraisablehook
    if getattr(previous, "silences_orbax", False):
        return

    def hook(unraisable: Any) -> None:
        if not (isinstance(unraisable.exc_value, RuntimeError) and "Event loop is closed" in str(unraisable.exc_value)):
            previous(unraisable)

    hook.silences_orbax = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook
