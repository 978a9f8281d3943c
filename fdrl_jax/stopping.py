"""Stopping a run by a signal, as schedulers do before they take a machine away."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from fdrl_jax.types import StoppedError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def by_signals() -> Iterator[Callable[[], int]]:
    """Yield a function for `train` to ask after each step: the number of the signal that came, or 0.

    A signal before the first question raises at once, as there is nothing to save. After one signal the next has its
    default effect: the process is gone. The handlers that were there come back at the end. In a thread, where Python
    allows no handlers, it answers 0.

    Raises:
      StoppedError: a signal came before the first question.
    """
    came, asked = 0, False

    def ask() -> int:
        nonlocal asked
        asked = True
        return came

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = number
        _forget()
        if not asked:
            raise StoppedError("stopped before a step was done: the same command starts again", number)

    with _handled(handle):
        yield ask


@contextlib.contextmanager
def at_once(message: str) -> Iterator[None]:
    """A signal raises, so that what was begun is tidied up; a second one has its default effect.

    In a thread, where Python allows no handlers, nothing changes.

    Raises:
      StoppedError: a signal came; with `message`.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        _forget()
        raise StoppedError(message, number)

    with _handled(handle):
        yield


@contextlib.contextmanager
def by_interrupt() -> Iterator[Callable[[], int]]:
    """The same for Python and notebooks: of SIGINT alone, and only where it would raise KeyboardInterrupt.

    It is raised when `train` has stopped, or here at the end. A second one is raised at once.

    Raises:
      KeyboardInterrupt: SIGINT came.
    """
    came = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: 0
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: came
    except StoppedError as error:
        raise KeyboardInterrupt(str(error)) from None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _handled(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """`handle` as the handler of SIGNALS; those that were there come back at the end."""
    here = threading.current_thread() is threading.main_thread()
    before = {each: signal.signal(each, handle) for each in _heard()} if here else {}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _heard() -> list[signal.Signals]:
    """Those of SIGNALS that are not ignored: what is, as a shell has it for its background jobs, stays so."""
    return [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]


def _forget() -> None:
    """The next signal has its default effect."""
    for each in _heard():
        signal.signal(each, signal.SIG_DFL)
