"""A small experiment, and a workdir with two of its checkpoints."""

import shutil

import jax
import numpy as np
import pytest
import shrink

from fdrl_jax.experiment import builders, checkpoint
from fdrl_jax.experiment.manifest import CHECKPOINTS
from fdrl_jax.experiment.model import initial_state
from fdrl_jax.experiment.workdir_files import write_setup


@pytest.fixture(scope="session")
def experiment():
    return builders.build(shrink.tiny_points())


@pytest.fixture(scope="session")
def states(experiment):
    """The train states of steps 2 and 4, by step."""
    first = initial_state(experiment)
    return {2: first, 4: jax.tree.map(lambda x: x + 1, first)}


@pytest.fixture(scope="session")
def save_run():
    """A function that writes the files of a run: setup and checkpoints."""

    def save(workdir, experiment, states, folder=CHECKPOINTS):
        write_setup(workdir, experiment.config, {"mean": np.arange(3, dtype=np.float32)}, "abc")
        with checkpoint.Checkpoints(workdir, keep=2, folder=folder) as checkpoints:
            for step, state in states.items():
                checkpoints.save(step, state)

    return save


@pytest.fixture(scope="session")
def two_checkpoints(experiment, states, save_run, tmp_path_factory):
    """A workdir with checkpoints 2 and 4. Tests that change it make a copy first."""
    workdir = tmp_path_factory.mktemp("two_checkpoints")
    save_run(workdir, experiment, states)
    return workdir


@pytest.fixture
def run(two_checkpoints, tmp_path):
    """A copy of that workdir, which a test may change."""
    return shutil.copytree(two_checkpoints, tmp_path / "run")
