"""A run of the version before the rooms (commit a009c22): it is read, sampled and resumed as then, bit for bit.

`tests/goldens/before_rooms.zip` has a workdir, an exported model, and their samples; `make_before_rooms.sh` made it,
with jax 0.10.2. Compiled for AVX2 at most, programs give the same bits on every x86 processor that has it.
"""

import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest
from paths import GOLDENS, ROOT


def _has_avx2() -> bool:
    try:
        return platform.machine() == "x86_64" and "avx2" in pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


pytestmark = pytest.mark.skipif(
    not (_has_avx2() and jax.__version__ == "0.10.2"), reason="the bits are those of jax 0.10.2 on x86 with AVX2"
)


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("before_rooms")
    with zipfile.ZipFile(GOLDENS / "before_rooms.zip") as archive:
        archive.extractall(folder)
    return folder


def command(*flags):
    environment = os.environ | {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2", "JAX_NUM_CPU_DEVICES": "1"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # Its programs may have been compiled for another processor.
    done = subprocess.run(
        [sys.executable, "main.py", *map(str, flags)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SAMPLE = ("--mode=sample", "--num_samples=6", "--seed=7", "--compile_cache=off")


@pytest.mark.parametrize(
    ("source", "flags", "expected"),
    [
        ("run", (), "samples.npz"),
        ("model", (), "samples.npz"),
        ("run", ("--step=best", "--noema"), "samples_best.npz"),
    ],
)
def test_samples_are_the_same_bits(old, tmp_path, source, flags, expected):
    command(*SAMPLE, f"--workdir={old / source}", *flags, f"--out={tmp_path / 'out.npz'}")
    with np.load(tmp_path / "out.npz") as new, np.load(old / expected) as before:
        np.testing.assert_array_equal(new["samples"], before["samples"])


@pytest.mark.slow
def test_the_run_resumes(old, tmp_path):
    run = shutil.copytree(old / "run", tmp_path / "run")
    (flags,) = re.findall(r"^CONFIG=\((.*)\)$", (GOLDENS / "make_before_rooms.sh").read_text(), re.MULTILINE)
    said = command(f"--workdir={run}", "--compile_cache=off", *shlex.split(flags), "--config.train.num_steps=14")
    assert "resume at step 12 of 14" in said
    assert (run / "checkpoints" / "14" / "manifest.json").exists()
