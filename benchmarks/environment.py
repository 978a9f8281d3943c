"""The line that every figure in README and docs is quoted with."""

import datetime
import os
import platform

import jax

import fdrl_jax


def describe() -> str:
    """Date, machine and versions."""
    device = jax.devices()[0]
    return (
        f"{datetime.date.today()}, {os.cpu_count()} {platform.machine()} cores, {device.platform} "
        f"({device.device_kind}), Python {platform.python_version()}, jax {jax.__version__}, "
        f"fdrl_jax {fdrl_jax.__version__}"
    )
