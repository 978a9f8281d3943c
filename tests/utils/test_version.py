"""The version has one source, which every module can import."""

import ast
import importlib.metadata
import pathlib

import fdrl_jax
from fdrl_jax.utils import version


def test_the_version_is_that_of_the_package_and_of_its_metadata():
    assert fdrl_jax.__version__ == version.__version__ == importlib.metadata.version("fdrl_jax")


def test_the_module_imports_nothing():
    tree = ast.parse(pathlib.Path(version.__file__).read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
