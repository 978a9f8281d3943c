"""The notebooks run from top to bottom, in their short setting; install.py keeps the JAX that is there."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest
import real_files
from paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RUN = """
import sys, nbclient, nbformat
book = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(book, timeout=300, kernel_name="python3").execute()
nbformat.write(book, sys.argv[2])
"""


def cells(path, kind):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def _install():
    spec = importlib.util.spec_from_file_location("install", ROOT / "notebooks" / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


install = _install()


def execute(path, folder):
    """Run a notebook in a process of its own, in `folder`; its cells with their outputs."""
    environment = os.environ | {"FDRL_SHORT": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": ""}
    done = subprocess.run(
        [sys.executable, "-c", RUN, path, "done.ipynb"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return cells(folder / "done.ipynb", "code")


# How many pictures each shows.
PICTURES = {"quickstart": 4, "paper_toys": 3, "translate": 3}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=() if path.stem == "quickstart" else pytest.mark.slow, id=path.stem)
        for path in NOTEBOOKS
    ],
)
def test_it_runs_from_top_to_bottom(path, tmp_path):
    if path.stem == "translate":
        real_files.fashion_mnist()  # Or skip.
    done = execute(path, tmp_path)
    outputs = [output for cell in done for output in cell["outputs"]]
    kinds = {kind for output in outputs for kind in output.get("data", {}) if kind.startswith("image/")}
    shown = sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in outputs)
    assert (shown, kinds >= {"image/png"}) == (PICTURES[path.stem], True)
    text = "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")
    assert "fdrl_jax" in text
    if path.stem == "quickstart":
        assert "the same samples: True" in text


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} == set(PICTURES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_not_kept(path):
    assert all((cell["outputs"], cell["execution_count"]) == ([], None) for cell in cells(path, "code"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_is_the_same_and_names_no_repository(path):
    first = cells(path, "code")[0]["source"]
    assert first == cells(NOTEBOOKS[0], "code")[0]["source"]
    assert 'REPOSITORY = ""\n' in first


# --- install.py ---


@pytest.mark.parametrize(
    ("present", "good", "line"),
    [
        (None, True, "No JAX here: installing it too, for CPU. Tested with 0.10.2."),
        ("0.10.2", True, "JAX 0.10.2 stays."),
        ("0.10.9", True, "JAX 0.10.9 stays."),
        ("0.10.0.dev20260101+abc1", True, "JAX 0.10.0.dev20260101+abc1 stays."),
        ("0.11.0", True, "JAX 0.11.0 stays. It is newer than 0.10.2, the newest that fdrl_jax was tested with."),
        ("1.0", True, "JAX 1.0 stays. It is newer than 0.10.2"),
        ("0.9.3", False, "JAX 0.9.3 is older than 0.10, which fdrl_jax needs: pip install -U 'jax[cuda12]>=0.10'"),
    ],
)
def test_what_is_said_of_the_jax_that_is_there(present, good, line):
    found, said = install.verdict(present, "0.10", "0.10.2")
    assert found == good
    assert said.startswith(line)
    assert "\n" not in said


def test_it_reads_what_the_package_asks_for():
    assert install.version_of(install.oldest_jax()) <= install.version_of(install.tested_jax())
    assert install.version_of(install.oldest_jax()) >= (0, 10)


def test_jax_its_plugins_and_numpy_are_held():
    installed = {"jax": "0.10.2", "jaxlib": "0.10.2", "jax-cuda12-plugin": "0.10.2", "libtpu": "0.0.40", "numpy": "2.0"}
    others = {"jaxtyping": "0.3.11", "flax": "0.10.7", "scipy": "1.13"}
    assert install.held(installed | others) == sorted(f"{name}=={version}" for name, version in installed.items())


def run_install(monkeypatch, installed, returncode=0):
    """`install.main` with such distributions, and what it would have run: pip's arguments and constraints."""
    calls = []

    class Distribution:
        def __init__(self, name, version):
            self.metadata, self.version = {"Name": name}, version

    def run(command, **_):
        constraints = pathlib.Path(command[command.index("--constraint") + 1]).read_text().split()
        calls.append((command, constraints))
        return subprocess.CompletedProcess(command, returncode)

    monkeypatch.setattr(install.importlib.metadata, "distributions", lambda: [Distribution(*d) for d in installed])
    monkeypatch.setattr(install.subprocess, "run", run)
    return install.main(), calls


def test_it_installs_this_copy_beside_the_jax_that_is_there(monkeypatch, capsys):
    code, [(command, constraints)] = run_install(monkeypatch, [("jax", "0.10.1"), ("JAX_cuda12.pjrt", "0.10.1")])
    assert code == 0
    assert command[1:4] == ["-m", "pip", "install"]
    assert command[-2:] == ["--editable", str(ROOT)]
    assert constraints == ["jax-cuda12-pjrt==0.10.1", "jax==0.10.1"]
    assert capsys.readouterr().out == "JAX 0.10.1 stays.\n"


def test_an_old_jax_is_neither_replaced_nor_used(monkeypatch, capsys):
    assert run_install(monkeypatch, [("jax", "0.7.2")]) == (1, [])
    assert capsys.readouterr().out.count("\n") == 1


def test_what_pip_cannot_do_is_said(monkeypatch, capsys):
    assert run_install(monkeypatch, [("jax", "0.10.2"), ("numpy", "1.26.4")], returncode=1)[0] == 1
    assert "pip cannot install fdrl_jax beside jax==0.10.2, numpy==1.26.4" in capsys.readouterr().out
