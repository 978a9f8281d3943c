"""Several hosts as one program: joining the processes, and checking that all were started with the same settings.

Communication between hosts after that is in `sharding`.
"""

import json
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from fdrl_jax.types import InputError

# A host that does not answer for so many seconds counts as failed, and the others stop.
HEARTBEAT = 60
# Seconds that `join` waits for the other processes.
JOIN_TIMEOUT = 300


def join(coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None) -> None:
    """Make this process one of several. Must be called before any other use of JAX.

    If the other processes have not joined after `JOIN_TIMEOUT` seconds, this prints an error of one line and ends the
    process with exit code 2.

    Args:
      coordinator: HOST:PORT of process 0, reachable from every process.
      num_processes: number of processes.
      process_id: index of this process, from 0. On a TPU pod and under SLURM all three arguments are None, because JAX
        finds the values itself.

    Raises:
      InputError: `coordinator` is not HOST:PORT, or an argument is None and JAX cannot find its value.
    """
    if coordinator is not None:
        # gRPC ends the process if the port is not a number.
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise InputError(f"--coordinator={coordinator} must be HOST:PORT, with a port from 1 to 65535")
        print(f"waiting for all {num_processes} processes at {coordinator}", file=sys.stderr, flush=True)
    # JAX's own timeout ends the process with a C++ stack trace, so this shorter one prints a readable line instead.
    timer = threading.Timer(JOIN_TIMEOUT, _give_up, (coordinator, num_processes))
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            *(coordinator, num_processes, process_id),
            initialization_timeout=2 * JOIN_TIMEOUT,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the processes did not find one another ({reason}): outside of SLURM and TPU pods pass --coordinator, "
            "--num_processes and --process_id"
        ) from None
    finally:
        timer.cancel()


def _give_up(coordinator: str | None, num_processes: int | None) -> None:
    """End the process with a message: not all processes have joined in time."""
    processes = f"all {num_processes} processes" if num_processes else "all processes"
    address = f" at {coordinator}" if coordinator else ""
    print(
        f"error: not {processes} joined{address} in {JOIN_TIMEOUT} s: start every process, each with its own "
        "--process_id, on hosts that can reach process 0",
        file=sys.stderr,
        flush=True,
    )
    os._exit(2)


def check_same(settings: Mapping[str, Any]) -> None:
    """Refuse processes that were started with different settings: they would hang, or compute something wrong.

    Args:
      settings: name -> value, which is compared as JSON. Values that JSON cannot represent are compared as text.

    Raises:
      InputError: a setting of some process differs from that of process 0. It is raised on every process.
    """
    if jax.process_count() == 1:
        return
    text = np.frombuffer(json.dumps(dict(settings), sort_keys=True, default=str).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(text.size)).ravel()
    padded = np.pad(text, (0, int(sizes.max()) - text.size))
    rows = multihost_utils.process_allgather(padded).reshape(len(sizes), -1)
    first, *others = (json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True))
    for process, other in enumerate(others, 1):
        for name in sorted(first.keys() | other.keys()):
            expected, actual = (json.dumps(each[name]) if name in each else "absent" for each in (first, other))
            if expected != actual:
                raise InputError(
                    f"{name} is {expected} on process 0 and {actual} on process {process}: start all with the same "
                    "command"
                )
