"""A small trained run on digits and its model, for the tests of evaluation."""

import pytest
import shrink

import fdrl_jax


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("digits") / "run"
    shrink.trained(shrink.tiny_digits(), workdir)
    return workdir


@pytest.fixture(scope="session")
def model(digits_run):
    return fdrl_jax.load(digits_run)
