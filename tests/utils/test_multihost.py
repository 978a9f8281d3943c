"""Joining several hosts: a process that waits alone gives up, and processes with different settings are refused.

`tests/system/test_hosts.py` trains in two processes.
"""

import json
import re
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from fdrl_jax.types import InputError
from fdrl_jax.utils import multihost


def simulate_processes(monkeypatch, *settings):
    """Let JAX's communication return what process 0 would receive from processes with these settings."""
    texts = [np.frombuffer(json.dumps(each, sort_keys=True).encode(), np.uint8) for each in settings]
    longest = max(map(len, texts))
    gathered = iter([[len(text) for text in texts], [np.pad(text, (0, longest - len(text))) for text in texts]])
    monkeypatch.setattr(jax, "process_count", lambda: len(settings))
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda x: np.stack(next(gathered)))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"--seed": 0, "config.seed": 7}, "config.seed is 3 on process 0 and 7 on process 1: start all with the same"),
        ({"--seed": 0}, "config.seed is 3 on process 0 and absent on process 1"),
        ({"--seed": None, "config.seed": 3}, "--seed is 0 on process 0 and null on process 1"),
    ],
)
def test_processes_that_were_started_differently_are_refused(monkeypatch, other, message):
    settings = {"--seed": 0, "config.seed": 3}
    simulate_processes(monkeypatch, settings, settings)
    multihost.check_same(settings)
    simulate_processes(monkeypatch, settings, other)
    with pytest.raises(InputError, match=re.escape(message)):
        multihost.check_same(settings)


def test_a_process_that_is_alone_gives_up():
    script = "from fdrl_jax.utils import multihost; multihost.JOIN_TIMEOUT = 2; multihost.join('localhost:{}', 2, 0)"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        script = script.format(free.getsockname()[1])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "error: not all 2 processes joined at localhost:" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "coordinator", ["localhost", ":1234", "localhost:", "localhost:port", "localhost:0", "a:65536"]
)
def test_a_coordinator_that_is_no_address_is_refused(coordinator):
    with pytest.raises(InputError, match=f"--coordinator={coordinator} must be HOST:PORT, with a port from 1 to 65535"):
        multihost.join(coordinator, 2, 0)
