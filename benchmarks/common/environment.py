"""The line of date, machine and versions with which README and docs quote every figure."""

import datetime
import os
import platform

import jax

import fdrl_jax


def describe() -> str:
    """Return the date, the machine, and the versions of Python, jax and fdrl_jax in one line."""
    device = jax.devices()[0]
    return (
        f"{datetime.date.today()}, {os.cpu_count()} {platform.machine()} cores, {device.platform} "
        f"({device.device_kind}), Python {platform.python_version()}, jax {jax.__version__}, "
        f"fdrl_jax {fdrl_jax.__version__}"
    )
