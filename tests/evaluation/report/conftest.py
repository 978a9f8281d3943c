"""A run of digits as training leaves it, and the same run with every kind of file that a record has."""

import shutil

import pytest
import recorded_run
import shrink

from fdrl_jax.experiment.workdir_files import read_config


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run of four steps; tests must not change it."""
    workdir = tmp_path_factory.mktemp("runs") / "digits"
    shrink.trained(shrink.tiny_digits(), workdir)
    return workdir


@pytest.fixture
def workdir(trained, tmp_path):
    """A copy of the run."""
    return shutil.copytree(trained, tmp_path / "digits")


@pytest.fixture
def full(workdir):
    """A copy of the run with evaluations, diagnostics, a best checkpoint and figures."""
    return recorded_run.complete(workdir)


@pytest.fixture
def two(full):
    """Two runs whose configs differ in two fields."""
    other = shutil.copytree(full, full.parent / "other")
    config = read_config(other)
    config["flow"]["step_size"] = 1.5
    del config["optimizer"]["b1"]
    recorded_run.write_config(other, config)
    return full, other
