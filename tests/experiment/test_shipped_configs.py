"""The configs that come with the package: their names and files, and a user's own folder `configs`."""

import subprocess
import sys

import pytest
from paths import ROOT

import fdrl_jax
from configs import cifar10, digits
from fdrl_jax.experiment import shipped_configs
from fdrl_jax.types import InputError

# --- Names and files ---


def test_names_are_those_of_the_experiments_in_order():
    names = shipped_configs.names()
    assert names == sorted(names)
    assert {"digits", "cifar10", "classifier", "ablations/prior"} <= set(names)
    for shared in ("__init__", "images", "points", "ablations/__init__", "ablations/common"):
        assert (shipped_configs.folder() / f"{shared}.py").is_file()
        assert shared not in names


def test_configs_are_in_the_checkout_or_in_the_installed_package(tmp_path, monkeypatch):
    assert shipped_configs.folder() == ROOT / "configs"
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.py").write_text("")
    monkeypatch.setattr(shipped_configs, "_PACKAGE", tmp_path)
    assert shipped_configs.folder() == tmp_path / "configs"
    assert shipped_configs.names() == ["mine"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("digits", "digits.py"), ("cifar10:lr-kl", "cifar10.py:lr-kl"), ("ablations/prior:", "ablations/prior.py:")],
)
def test_a_name_is_replaced_by_its_file(value, expected):
    assert shipped_configs.path_of(value) == f"{ROOT / 'configs'}/{expected}"


def test_a_folder_of_that_name_does_not_hide_a_shipped_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert shipped_configs.path_of("digits") == f"{ROOT / 'configs'}/digits.py"


def test_the_path_of_a_file_is_unchanged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text("")
    for value in ("mine", "mine:fast", "no/such/file.py", "configs/digits.py:fast", str(tmp_path)):
        assert shipped_configs.path_of(value) == value


@pytest.mark.parametrize("value", ["digit", "images", "ablations", "../configs/digits"])
def test_another_name_is_refused_with_a_list_of_all_names(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = f"^--config={value} names no shipped config and no file: there are ablations/flow_length, .*, digits, "
    with pytest.raises(InputError, match=message):
        shipped_configs.path_of(value)


# --- Loading ---


def test_a_config_is_loaded_by_its_name_and_variant():
    assert fdrl_jax.get_config("digits").to_dict() == digits.get_config().to_dict()
    assert fdrl_jax.get_config("cifar10:lr-kl").to_dict() == cifar10.get_config("lr-kl").to_dict()
    assert fdrl_jax.get_config("cifar10").to_dict() == cifar10.get_config().to_dict()
    assert fdrl_jax.get_config("ablations/guidance:stale").flow.guided is False


def test_every_config_can_be_loaded_by_its_name():
    for name in shipped_configs.names():
        assert fdrl_jax.get_config(name).seed == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digit", "^name = 'digit' is no shipped config: there are ablations/flow_length, .*, digits, "),
        ("digits.py", "^name = 'digits.py' is no shipped config"),
        ("images", "^name = 'images' is no shipped config"),
        ("", "^name = '' is no shipped config"),
        ("digits:fast", "^name = 'digits:fast' is an experiment without variants: leave out the colon"),
        ("cifar10:lr-kk", "^name = 'cifar10:lr-kk': variant 'lr-kk' must be one of .*lr-kl"),
    ],
)
def test_a_wrong_name_or_variant_is_refused_in_one_line(name, message):
    with pytest.raises(InputError, match=message) as caught:
        fdrl_jax.get_config(name)
    assert "\n" not in str(caught.value)


# --- The module `configs`, in a new process because it is imported once ---


def output(code, folder, path=()):
    """Run `code` in a process whose working directory is `folder`, and return what it prints.

    The folders in `path` are searched for modules first. `configs` of the checkout is found only if it is among them.
    """
    package = folder / "package"
    package.mkdir()
    (package / "fdrl_jax").symlink_to(ROOT / "fdrl_jax")
    setup = f"import sys; sys.path[:0] = {[*map(str, path), str(package)]!r}\n"
    setup += "from fdrl_jax.experiment import shipped_configs\n"
    # `_PACKAGE` is the link, beside which there is no `configs`.
    setup += f"import pathlib; shipped_configs._PACKAGE = pathlib.Path({str(ROOT / 'fdrl_jax')!r})\n"
    process = subprocess.run(
        [sys.executable, "-P", "-c", setup + code], cwd=folder, text=True, capture_output=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


def test_shipped_configs_can_be_imported_from_any_folder(tmp_path):
    code = """
import importlib.util
print(importlib.util.find_spec("configs"))
for _ in range(2):  # A second call changes nothing.
    shipped_configs.make_importable()
from configs.points import PAIRINGS
import configs
print(list(configs.__path__))
"""
    assert output(code, tmp_path) == ["None", f"[{str(ROOT / 'configs')!r}]"]


@pytest.mark.parametrize("is_package", [True, False])
def test_the_users_own_folder_is_searched_before_the_shipped_configs(is_package, tmp_path):
    own = tmp_path / "configs"
    own.mkdir()
    (own / "digits.py").write_text("OWNER = 'user'\n")
    if is_package:
        (own / "__init__.py").write_text("")
    code = """
for _ in range(2):
    shipped_configs.make_importable()
import configs
from configs import digits, points
print(digits.OWNER, points.__file__)
print(list(configs.__path__))
print(shipped_configs.get_config("digits").data.name)  # The shipped one all the same.
"""
    assert output(code, tmp_path, path=[tmp_path]) == [
        f"user {ROOT / 'configs' / 'points.py'}",
        f"[{str(own)!r}, {str(ROOT / 'configs')!r}]",
        "digits",
    ]


def test_the_checkouts_own_folder_is_not_added_twice(tmp_path):
    code = "shipped_configs.make_importable()\nimport configs\nprint(list(configs.__path__))\n"
    assert output(code, tmp_path, path=[ROOT]) == [f"[{str(ROOT / 'configs')!r}]"]


def test_a_module_of_the_users_that_hides_the_configs_is_refused(tmp_path):
    (tmp_path / "configs.py").write_text("")
    code = """
try:
    shipped_configs.make_importable()
except ValueError as error:
    print(type(error).__name__, error)
"""
    (line,) = output(code, tmp_path, path=[tmp_path])
    assert line.startswith("InputError configs.py, beside where the program was started, hides the configs in ")
