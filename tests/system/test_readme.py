"""README's commands and code work as printed."""

import re
import shlex
import shutil

import jax
import numpy as np
import pytest
import shrink
from paths import GOLDENS, ROOT

import fdrl_jax
from fdrl_jax.flags import MODES, parse

README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^python (main\.py .*?)(?: +#.*)?$", README, re.MULTILINE)


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shrink.trained(shrink.tiny_digits(), tmp_path / "runs" / "digits")
    code, *_ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    found = {}
    exec(code, found)
    assert (found["images"].shape, found["images"].dtype) == ((64, 8, 8, 1), np.float32)
    assert np.abs(found["images"]).max() <= 1
    assert found["ratios"].shape == (64,)


def test_the_example_with_the_authors_files_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = GOLDENS / "torch_files"
    # Theirs are of 32x32 images; these of 8x8, hence a prior of that size, in our own format.
    shutil.copy(files / "full.pt", "cifar10_LSIF_Pearson.pt")
    np.savez("prior.npz", mean=np.zeros((8, 8, 3), np.float32), factor=0.3 * np.eye(192, dtype=np.float32))
    _, code, *_ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    found = {"fdrl_jax": fdrl_jax, "jax": jax}
    exec(code.replace("cifar10_ddp.pt", "prior.npz"), found)
    assert found["images"].shape == (64, 8, 8, 3)


def test_the_refinement_example_runs():
    *_, code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    x = jax.random.normal(jax.random.key(0), (3, 2))
    found = {"discriminator": lambda x: -(x**2).sum(axis=1), "generator": lambda z: 2 * z, "samples": x, "codes": x / 2}
    exec(code, found)
    # The discriminator says that data lie at 0; both go there, of one start, one by its code.
    for refined in (found["refined"], found["decoded"]):
        assert np.linalg.norm(refined) < 0.5 * np.linalg.norm(x)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    flags, config, directories = parse(shlex.split(command))
    assert bool(flags.workdir) == ("workdir" in MODES[flags.mode])
    assert (config is None) == ("config" not in MODES[flags.mode])
    assert (len(directories) > 1) == (flags.mode == "compare")


def test_there_are_commands():
    assert len(COMMANDS) >= 5


def test_files_modules_and_targets_exist():
    for name in re.findall(r"!\[.*?\]\((.*?)\)", README) + re.findall(
        r"`((?:configs|tests|fdrl_jax)/\S+?\.\w+)`", README
    ):
        assert (ROOT / name.replace("NAME.py[:variant]", "digits.py")).exists(), name
    for module in re.findall(r"python -m (benchmarks(?:\.\w+)+)", README):
        assert (ROOT / (module.replace(".", "/") + ".py")).exists(), module
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)|`make (\S+?)`", README, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), target
