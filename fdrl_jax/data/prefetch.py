"""Loading batches ahead of time in a thread, so that the accelerator does not wait for the host."""

import queue
import threading
from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")


def prefetch(load: Callable[[int], T], start: int, stop: int, depth: int = 2) -> Generator[T, None, None]:
    """Yield load(start), ..., load(stop - 1) in order, computing up to `depth` of them ahead of the consumer.

    `load` runs in one thread of its own, so it needs no locks. An exception that it raises for a step is raised here
    when that step's result is asked for. The thread ends when the iterator is closed or collected.

    Args:
      load: function from a step to its result.
      start: the first step.
      stop: one past the last step.
      depth: number of results that may wait in memory.
    """
    results: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=depth)
    closed = threading.Event()

    def put(item: tuple[T | None, BaseException | None]) -> bool:
        while not closed.is_set():
            try:
                results.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        for step in range(start, stop):
            try:
                item: tuple[T | None, BaseException | None] = (load(step), None)
            except BaseException as error:  # The consumer raises it, whatever its type.
                item = (None, error)
            if not put(item) or item[1] is not None:
                return

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        for _ in range(start, stop):
            value, error = results.get()
            if error is not None:
                raise error
            yield value  # type: ignore[misc]  # It is None only with an error, or if `load` returns None.
    finally:
        closed.set()
        thread.join()
