"""The wheel and the sdist: installed in an environment of their own, in another folder, they train and sample.

Covers: `__main__`.
"""

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest
from paths import ROOT

SMALL = (
    "--config.data.batch_size=16",
    "--config.flow.num_steps=3",
    "--config.model.stem=4",
    "--config.model.stages=((4, 1, 1), (8, 1, 2))",
    "--config.train.num_steps=4",
    "--config.train.checkpoint_every=4",
    "--config.train.sample_every=4",
    "--config.diagnostics.every=4",
    "--config.diagnostics.num_samples=16",
)


def call(*command, cwd, **environment):
    """The output of a command that must succeed, in a folder and an environment without this checkout."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the files that git has, so that leftovers of an older build do not count."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists() and not name.startswith(("tests/", "docs/", "benchmarks/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, source, cwd=out)
    (path,) = out.glob("*.whl")
    return path, source


def test_the_wheel_has_the_package_its_configs_and_templates_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel[0]) as archive:
        names = set(archive.namelist())
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "fdrl_jax").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    configs = {f"fdrl_jax/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.py")}
    assert {name for name in names if ".dist-info/" not in name} == modules | configs
    assert "fdrl_jax/py.typed" in modules


def test_the_wheel_works_in_a_folder_without_the_checkout(wheel, tmp_path):
    """The wheel before the checkout's own packages on the path; the environment of its own is the slow test's."""
    target = tmp_path / "site"
    call(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel[0], cwd=tmp_path)
    where = call(
        sys.executable, "-c", "import fdrl_jax; print(fdrl_jax.__file__)", cwd=tmp_path, PYTHONPATH=str(target)
    )
    assert pathlib.Path(where.strip()).is_relative_to(target)
    train_sample_and_report([sys.executable, "-m", "fdrl_jax"], tmp_path, PYTHONPATH=str(target))


def train_sample_and_report(program, folder, **environment):
    run = folder / "a run"
    call(*program, "--config=digits", *SMALL, f"--workdir={run}", cwd=folder, **environment)
    call(*program, "--mode=sample", f"--workdir={run}", "--num_samples=4", "--out=s.png", cwd=folder, **environment)
    call(*program, "--mode=report", f"--workdir={run}", cwd=folder, **environment)
    assert (folder / "s.png").stat().st_size > 0
    assert "fdrl" in (run / "report.html").read_text().lower()
    plan = call(*program, "--mode=plan", "--config=gaussians:far-fdrl", "--flops_rate=1e12", cwd=folder, **environment)
    assert "parameters      8,577" in plan


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_new_environment_has_the_commands(kind, wheel, tmp_path):
    """`pip install`, with what the package says it needs, then the command `fdrl-jax`."""
    path, source = wheel
    if kind == "sdist":
        build = "from setuptools import build_meta; build_meta.build_sdist('out')"
        call(
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--target",
            tmp_path / "tools",
            "setuptools>=77",
            cwd=tmp_path,
        )
        call(sys.executable, "-c", build, cwd=source, PYTHONPATH=str(tmp_path / "tools"))
        (path,) = (source / "out").glob("*.tar.gz")
    call(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    scripts = tmp_path / "venv" / "bin"
    pip = (scripts / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    call(*pip, "--constraint", ROOT / "requirements.txt", path, cwd=tmp_path)
    train_sample_and_report([scripts / "fdrl-jax"], tmp_path)
    version = call(scripts / "python", "-c", "import fdrl_jax; print(fdrl_jax.__version__)", cwd=tmp_path)
    assert version.strip() in path.name
