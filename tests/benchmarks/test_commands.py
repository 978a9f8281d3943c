"""Every command of the benchmarks can be started, and every one that the repository names exists.

Covers: `common.environment`, `quality.translation`, `speed.prior`.
"""

import importlib
import re
import subprocess

import pytest
from paths import ROOT

import benchmarks

PACKAGE = ROOT / "benchmarks"
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if not path.name.startswith("__")
)
COMMANDS = [
    name
    for name in MODULES
    if re.search(r"^def main\(argv", (ROOT / (name.replace(".", "/") + ".py")).read_text(), re.MULTILINE)
]
# Files that Git tracks may name commands; so may new ones, but not ignored ones.
TRACKED = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_what_the_command_measures(name, capsys):
    module = importlib.import_module(name)
    with pytest.raises(SystemExit) as exit_:
        module.main(["--help"])
    assert exit_.value.code == 0
    printed = capsys.readouterr().out
    assert module.__doc__.strip() in printed
    assert name == "benchmarks.speed.comparison" or f"python -m {name}" in printed


def test_files_with_a_main_are_commands():
    run = re.compile(r'^if __name__ == "__main__":\n    (?:sys\.exit\()?main\(\)', re.MULTILINE)
    runnable = {name for name in MODULES if run.search((ROOT / (name.replace(".", "/") + ".py")).read_text())}
    assert runnable == {*COMMANDS, "benchmarks.speed.pytorch.server"}


def test_commands_that_are_named_exist():
    try:
        listed = subprocess.run(TRACKED, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a Git checkout")
    named = set()
    for path in (ROOT / name for name in listed):
        if path.suffix in {".py", ".md", ".sh", ".ipynb", ".toml"} or path.name == "Makefile":
            text = path.read_text() if path.exists() else ""
            named |= set(re.findall(r"python\S* -m\s+(benchmarks(?:\.\w+)*)", text))
            named |= set(re.findall(r"\$PYTHON -m (benchmarks(?:\.\w+)*)", text))
            named |= {name.replace("/", ".") for name in re.findall(r"(?<![\w/])(benchmarks/[\w/]+)\.py", text)}
    assert len(named) > 20
    known = {benchmarks.__name__, *MODULES}
    # docs/performance.md names two modules of earlier commits, and says of which.
    assert named - known <= {"benchmarks.kernel_gradient", "benchmarks.winograd"}


def test_readme_names_the_folders():
    readme = (PACKAGE / "README.md").read_text()
    for folder in PACKAGE.rglob("__init__.py"):
        name = str(folder.parent.relative_to(PACKAGE))
        assert name == "." or f"`{name}/`" in readme
