"""The direction of imports, and who may import what: a module imports only modules above it in the list."""

import ast
import pathlib

import pytest

import fdrl_jax

PACKAGE = pathlib.Path(fdrl_jax.__file__).parent
ORDER = [
    "version", "types", "programs", "sharding", "hosts", "rng", "pixels", "files", "untrusted", "pickles",
    "divergences", "losses", "flow", "compose", "priors", "models", "state", "steps", "data", "manifest",
    "run_files", "write_errors", "checkpoint", "stopping", "convert", "features", "evaluation", "pictures",
    "observe", "guard", "schema", "arguments", "command_line", "builders", "classifiers", "sampling", "exported",
    "sample_files", "translation", "refinement", "interpolation", "loading", "evaluate", "figures", "report",
    "sharing", "diagnostics", "looks", "plan", "train", "__init__",
]  # fmt: skip


def imports(path: pathlib.Path) -> set[str]:
    """Dotted names of everything that `path` imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_of(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_module_has_a_place():
    assert {module_of(path) for path in FILES} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_upwards(path):
    here = ORDER.index(module_of(path))
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "fdrl_jax" and parts[1] in ORDER:
            assert ORDER.index(parts[1]) < here or parts[1] == module_of(path), f"{path} imports {name}"


@pytest.mark.parametrize(
    ("library", "owner"),
    [
        ("flax", "models"),
        ("orbax", "checkpoint"),
        ("tensorboardX", "observe"),
        ("safetensors", "convert"),
        ("lmdb", "data"),
        ("jinja2", "report"),
    ],
)
def test_a_library_has_one_importer(library, owner):
    users = {module_of(path) for path in FILES if any(name.split(".")[0] == library for name in imports(path))}
    assert users == {owner}


def test_one_module_compiles():
    assert {module_of(path) for path in FILES if "jax.jit" in path.read_text()} == {"programs"}


def test_configs_import_nothing_of_the_package():
    for path in (PACKAGE.parent / "configs").glob("*.py"):
        assert not any(name.startswith("fdrl_jax") for name in imports(path)), path


def test_no_module_is_long():
    assert {str(path): n for path in FILES if (n := len(path.read_text().splitlines())) > 300} == {}
