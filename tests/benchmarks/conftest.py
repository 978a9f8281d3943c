"""Fixtures of the tests of benchmarks."""

import pytest

from benchmarks.speed import accelerator, comparison


@pytest.fixture
def fast_rates(monkeypatch):
    """Replace the measured rates of the machine by constants."""
    for module in (comparison, accelerator):
        monkeypatch.setattr(module, "flops_rate", lambda dtype, small: {"float32": 2e9, "bfloat16": 4e9}[dtype])
        monkeypatch.setattr(module, "byte_rate", lambda small: 1e9)
