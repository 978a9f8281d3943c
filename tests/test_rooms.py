"""The rooms of the package: which there are, who imports whom, who tests what, and how docstrings begin."""

import ast
import functools
import graphlib
import pathlib
import re

import pytest
from paths import ROOT

PACKAGE = ROOT / "fdrl_jax"

# A module imports only from rooms above its own.
ROOMS = [
    "types", "utils", "divergences", "losses", "flow", "compose", "priors", "models", "data", "methods", "experiment",
    "inference", "evaluation", "training", "__init__", "flags", "cli", "__main__",
]  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES}
BY_NAME = {name: path for path, name in NAMES.items()}
READABLE = [*FILES, *sorted((ROOT / "benchmarks").rglob("*.py")), *sorted((ROOT / "tests" / "helpers").rglob("*.py"))]


@functools.cache
def imports(path: pathlib.Path) -> set[str]:
    """Dotted names of everything that `path` imports, also inside functions; of this package, names of modules."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            dotted = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in BY_NAME or node.module not in BY_NAME else node.module for name in dotted}
    return found


def room(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_the_rooms_are_few():
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert len(packages) <= 9
    assert len(modules) <= 8
    assert packages | modules | {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=NAMES.get)
def test_a_room_imports_only_rooms_above_it(path):
    here = ROOMS.index(room(path))
    for name in imports(path):
        if name.startswith("fdrl_jax."):
            assert ROOMS.index(name.split(".")[1]) <= here, f"{NAMES[path]} imports {name}"
        elif name == "fdrl_jax":
            assert here > ROOMS.index("__init__"), f"{NAMES[path]} imports the whole package"


def test_imports_go_one_way_inside_a_room():
    graph = {name: {other for other in imports(path) if other in BY_NAME} for name, path in BY_NAME.items()}
    graphlib.TopologicalSorter(graph).prepare()  # A CycleError names the modules of a cycle.


@pytest.mark.parametrize(
    ("library", "owner"),
    [
        ("flax", "fdrl_jax.models"),
        ("orbax", "fdrl_jax.experiment.checkpoint"),
        ("tensorboardX", "fdrl_jax.training.run_log"),
        ("safetensors", "fdrl_jax.models.convert.safetensors_file"),
        ("lmdb", "fdrl_jax.data.readers.lsun"),
        ("jinja2", "fdrl_jax.evaluation.report.html_page"),
    ],
)
def test_a_library_has_one_importer(library, owner):
    users = {NAMES[path] for path in FILES if any(name.split(".")[0] == library for name in imports(path))}
    assert users
    assert all(user == owner or user.startswith(f"{owner}.") for user in users), users


def test_one_module_compiles():
    assert {NAMES[path] for path in FILES if "jax.jit" in path.read_text()} == {"fdrl_jax.utils.compilation"}


def test_configs_import_nothing_of_the_package():
    for path in (ROOT / "configs").rglob("*.py"):
        assert not any(name.startswith("fdrl_jax") for name in imports(path)), path


def test_no_module_is_long():
    assert {
        str(path): n for path in [*FILES, ROOT / "main.py"] if (n := len(path.read_text().splitlines())) > 300
    } == {}


@functools.cache
def _test_files(folder: pathlib.Path) -> set[str]:
    return {path.stem for path in folder.rglob("test_*.py")}


@functools.cache
def _covered(folder: pathlib.Path) -> set[str]:
    """Modules named in `Covers:` lines of the test files in `folder` and below, dotted from the room's own name."""
    found: set[str] = set()
    for path in folder.rglob("test_*.py"):
        for line in re.findall(r"^Covers: (.*)", ast.get_docstring(ast.parse(path.read_text())) or "", re.MULTILINE):
            found |= set(re.findall(r"`([\w.]+)`", line))
    return found


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "__init__.py"], ids=NAMES.get)
def test_every_module_has_a_test_file(path):
    *rooms, module = NAMES[path].split(".")[1:]
    folder = (ROOT / "tests").joinpath(*rooms[:1])
    by_name = _test_files(folder)
    names = {".".join([*rooms[1 + i :], module]) for i in range(len(rooms))} | {module}
    assert f"test_{module}" in by_name or names & _covered(folder), (
        f"no test_{module}.py below {folder.relative_to(ROOT)}, and no `Covers:` line there names {module}"
    )


# Openings after which a docstring has to be read twice.
OPENING = re.compile(r"(Of|What|It|Its|For|Whether|How|That|Where)\b")


@pytest.mark.parametrize("path", READABLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_docstring_begins_with_a_verb_or_names_what_is_returned(path):
    nodes = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    wrong = [text.splitlines()[0] for node in nodes if OPENING.match(text := ast.get_docstring(node) or "")]
    assert wrong == []
