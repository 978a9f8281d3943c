"""Find and load the configs that come with the package, by name: `digits`, `cifar10:lr-kl`, `ablations/prior`.

They are in `configs/` of a checkout, and in `fdrl_jax/configs/` of an installed wheel.
"""

import importlib
import importlib.util
import pathlib
import sys

from ml_collections import ConfigDict

from fdrl_jax.types import InputError

_PACKAGE = pathlib.Path(__file__).parents[1]

# Files that other configs import, and that define no experiment.
_SHARED = ("__init__", "images", "points", "common")


def folder() -> pathlib.Path:
    """Return the folder of the shipped configs."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """Return the names of all shipped configs, in alphabetical order."""
    files = [path.relative_to(folder()).with_suffix("") for path in folder().rglob("*.py") if path.stem not in _SHARED]
    return sorted(path.as_posix() for path in files)


def path_of(value: str) -> str:
    """Return the file of a shipped config `NAME[:variant]`, with the variant. Paths are returned unchanged.

    Raises:
      InputError: no shipped config has that name.
    """
    name, colon, variant = value.partition(":")
    # Before anything in the working directory: a folder `digits` of the user's does not hide the config of that name.
    if name in names():
        return f"{folder() / name}.py{colon}{variant}"
    if name.endswith(".py") or pathlib.Path(name).exists():
        return value
    raise InputError(
        f"--config={value} names no shipped config and no file: there are {', '.join(names())}; a file of yours "
        "ends in .py"
    )


def make_importable() -> None:
    """Let config files write `from configs.images import ...`, whatever the working directory is.

    The user's own folder `configs` is searched first, the shipped configs after it.

    Raises:
      InputError: `configs` is a module of the user's and not a folder.
    """
    shipped = folder()
    if "configs" not in sys.modules and importlib.util.find_spec("configs") is None:
        spec = importlib.util.spec_from_file_location(
            "configs", shipped / "__init__.py", submodule_search_locations=[str(shipped)]
        )
        assert spec is not None
        sys.modules["configs"] = importlib.util.module_from_spec(spec)
        return
    search = getattr(importlib.import_module("configs"), "__path__", None)
    if search is None:
        raise InputError(f"configs.py, beside where the program was started, hides the configs in {shipped}: rename it")
    if not any(pathlib.Path(path).absolute() == shipped for path in search):
        search.append(str(shipped))


def get_config(name: str) -> ConfigDict:
    """Return a shipped config, to change and to train: `fdrl_jax.train(fdrl_jax.get_config("digits"), "runs/digits")`.

    Args:
      name: NAME or NAME:variant, as for --config.

    Raises:
      InputError: there is no such config or variant.
    """
    make_importable()
    stem, colon, variant = name.partition(":") if isinstance(name, str) else ("", "", "")
    if stem not in names():
        raise InputError(f"name = {name!r} is no shipped config: there are {', '.join(names())}")
    # From its file, because `configs` may have a module of that name which is the user's.
    spec = importlib.util.spec_from_file_location(f"shipped_config_{stem}", folder() / f"{stem}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = module.get_config
    if colon and not function.__code__.co_argcount:
        raise InputError(f"name = {name!r} is an experiment without variants: leave out the colon and what follows")
    try:
        return function(variant) if colon else function()
    except ValueError as error:
        raise InputError(f"name = {name!r}: {error}") from None
