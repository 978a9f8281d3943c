"""How processes on several hosts become one program, and that they were started alike. For the rest see `sharding`."""

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

# Seconds until a host that does not answer is given up, and the others stop.
HEARTBEAT = 60
# Seconds that `join` waits for the others.
JOIN_TIMEOUT = 300


def join(coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None) -> None:
    """Make this process one of several, before anything else is done with JAX.

    Args:
      coordinator: HOST:PORT of the first process, reachable from all.
      num_processes, process_id: how many there are, and which this is, from 0. On a TPU pod and under SLURM all three
        are None: JAX finds them.

    Raises:
      InputError: `coordinator` is no HOST:PORT, or some are missing and cannot be found.

    Where the others have not come in `JOIN_TIMEOUT`, the process ends with a line and exit code 2.
    """
    if coordinator is not None:
        # gRPC ends the process at a port that is not a number.
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise InputError(f"--coordinator={coordinator} must be HOST:PORT, with a port from 1 to 65535")
        print(f"waiting for all {num_processes} processes at {coordinator}", file=sys.stderr, flush=True)
    # JAX's own limit ends the process with a trace of C++ calls: this one comes first.
    limit = threading.Timer(JOIN_TIMEOUT, _give_up, (coordinator, num_processes))
    limit.daemon = True
    limit.start()
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
        limit.cancel()


def _give_up(coordinator: str | None, num_processes: int | None) -> None:
    who, where = f"all {num_processes} processes" if num_processes else "all processes", coordinator or "one another"
    print(
        f"error: not {who} came to {where} in {JOIN_TIMEOUT} s: start each, with an id of its own, where process 0 can "
        "be reached",
        file=sys.stderr,
        flush=True,
    )
    os._exit(2)


def check_same(settings: Mapping[str, Any]) -> None:
    """Refuse processes that were started differently: together they would compute what nobody asked for, or hang.

    Args:
      settings: by name, for JSON. What JSON does not know is compared as text.

    Raises:
      InputError: on every process, where a setting of one is not that of process 0.
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
            here, there = (json.dumps(found[name]) if name in found else "absent" for found in (first, other))
            if here != there:
                raise InputError(
                    f"{name} is {here} on process 0 and {there} on process {process}: start all with the same command"
                )
