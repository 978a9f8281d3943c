"""The short messages for Orbax's errors, and the removal of the files of a save that failed.

`tests/system/test_disk.py` trains on a disk that is full.
"""

import errno
import logging
import os
import sys
import types

import pytest

from fdrl_jax.utils import orbax_errors

FULL = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, FULL, "a/b"), FULL),
        (ValueError(f"INTERNAL: failed [os_error_code='{errno.ENOSPC}'] [source ...]\nmore"), FULL),
        (ValueError("first line\nsecond line"), "first line"),
        (ValueError("x" * 1000), "x" * 400),
        (ValueError(), "ValueError"),
    ],
)
def test_the_reason_is_one_short_line(error, reason):
    assert orbax_errors.reason(error) == reason


def test_the_files_of_a_partial_step_are_removed_and_no_others(tmp_path):
    for name in ("4", "4.orbax-checkpoint-tmp-1", "14", "40.orbax-checkpoint-tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").write_text("x")
    orbax_errors.remove_partial_step(tmp_path, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["14", "40.orbax-checkpoint-tmp"]


def test_only_errors_that_orbax_logs_are_dropped():
    def is_logged(level, path):
        return logging.getLogger("absl").filter(logging.LogRecord("absl", level, path, 1, "text", None, None))

    assert not is_logged(logging.ERROR, "/site-packages/orbax/checkpoint/x.py")
    assert is_logged(logging.WARNING, "/site-packages/orbax/checkpoint/x.py")
    assert is_logged(logging.ERROR, "/site-packages/other/x.py")


def test_only_callbacks_of_a_closed_event_loop_are_silent(monkeypatch):
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    for _ in range(2):  # The second call must not install a second hook.
        orbax_errors.silence_repeated_errors()
    for error in (RuntimeError("Event loop is closed"), RuntimeError("other"), ValueError("Event loop is closed")):
        sys.unraisablehook(types.SimpleNamespace(exc_value=error))
    assert [str(each.exc_value) for each in shown] == ["other", "Event loop is closed"]
