"""Handlers of SIGTERM and SIGINT: stop a run after the current step, as schedulers ask before they take the machine."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from fdrl_jax.types import StoppedError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Callable[[], int]]:
    """Yield a function that `train` calls after each step: it returns the number of the signal received, or 0.

    A signal that arrives before the first call raises at once, because there is nothing to save yet. After one signal
    the next has its default effect: it ends the process. The previous handlers are restored on exit. Outside the main
    thread, where Python allows no handlers, the function always returns 0.

    Raises:
      StoppedError: a signal arrived before the first call.
    """
    received, was_called = 0, False

    def stop() -> int:
        nonlocal was_called
        was_called = True
        return received

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = number
        _set_default_handlers()
        if not was_called:
            raise StoppedError("stopped before a step was done: the same command starts again", number)

    with _handlers(handle):
        yield stop


@contextlib.contextmanager
def raise_on_signals(message: str) -> Iterator[None]:
    """Raise an error at a signal, so that temporary files are removed. A second signal has its default effect.

    Outside the main thread, where Python allows no handlers, this does nothing.

    Args:
      message: the message of the error.

    Raises:
      StoppedError: a signal arrived.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        _set_default_handlers()
        raise StoppedError(message, number)

    with _handlers(handle):
        yield


@contextlib.contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], int]]:
    """Yield a function like that of `stop_on_signals`, for Python and notebooks: only SIGINT stops the run.

    SIGINT is handled only if it would raise KeyboardInterrupt, and in the main thread; otherwise the function always
    returns 0. KeyboardInterrupt is then raised when `train` has stopped, or on exit if it did not. A second SIGINT
    raises it at once.

    Raises:
      KeyboardInterrupt: SIGINT arrived.
    """
    received = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if not _in_main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: 0
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: received
    except StoppedError as error:
        raise KeyboardInterrupt(str(error)) from None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if received:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _handlers(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Install `handle` for the signals that are not ignored, and restore the previous handlers on exit."""
    signals = _not_ignored() if _in_main_thread() else []
    previous = {each: signal.signal(each, handle) for each in signals}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _not_ignored() -> list[signal.Signals]:
    """Return those of SIGNALS that the process does not ignore. A shell ignores SIGINT for its background jobs."""
    return [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]


def _set_default_handlers() -> None:
    """Let the next signal have its default effect."""
    for each in _not_ignored():
        signal.signal(each, signal.SIG_DFL)
