"""The guides in docs/: their commands are accepted, their code runs, their files exist."""

import re
import shlex

import pytest
import shrink
from paths import ROOT

import fdrl_jax
from fdrl_jax.flags import MODES, parse

GUIDES = sorted((ROOT / "docs").glob("*.md"))
COMMANDS = [
    (path.stem, command)
    for path in GUIDES
    for command in re.findall(r"^ *python (main\.py .*?)(?: +#.*)?$", path.read_text(), re.MULTILINE)
]


def code(name):
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / name).read_text(), re.DOTALL)


@pytest.mark.parametrize(("guide", "command"), COMMANDS)
def test_commands_are_accepted(guide, command, monkeypatch):
    monkeypatch.chdir(ROOT)
    flags, config, rest = parse(shlex.split(command))
    taken = set(MODES[flags.mode])
    assert {name for names in MODES.values() for name in names if flags[name].present} <= taken
    assert ("workdir" not in taken or bool(flags.workdir), config is not None) == (True, "config" in taken)
    assert not rest


def test_there_is_a_guide_for_each_task():
    assert {path.stem for path in GUIDES} >= {
        *("train", "sample", "evaluation", "class_conditional", "translate", "share", "change", "compose", "scale")
    }
    assert {guide for guide, _ in COMMANDS} >= {path.stem for path in GUIDES} - {"ablations", "compose"}


def test_files_that_are_named_exist():
    for path in GUIDES:
        for name in re.findall(r"`((?:configs|fdrl_jax|tests)/[\w/]+\.py)`", path.read_text()):
            assert (ROOT / name).exists(), (path.name, name)
        for name in re.findall(r"\]\(((?!http|#)[^)#]+)", path.read_text()):
            assert (path.parent / name).exists(), (path.name, name)


def test_the_code_on_sampling_and_sharing_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shrink.trained(shrink.tiny_digits(), tmp_path / "runs" / "digits")
    fdrl_jax.export("runs/digits", "digits-model", num_samples=64, progress=False)
    (sampling,), (sharing,) = code("sample.md"), code("share.md")
    found = {}
    exec(sampling, found)
    exec(sharing, shared := {})
    assert (found["images"] == shared["images"]).all()
    assert found["states"].shape == (6, 10, 8, 8, 1)


def test_the_code_on_composition_keeps_what_is_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shrink.trained(shrink.tiny_digits(), tmp_path / "runs" / "digits")
    (block,) = code("compose.md")
    exec(block, found := {})
    assert (found["filled"][:, :4] == found["digits"][:, :4]).all()
    assert (abs(found["filled"][:, 4:] - found["digits"][:, 4:]) > 0.01).any()


def test_the_code_on_the_flow_alone_says_what_it_prints(capsys):
    (block,) = code("change.md")
    exec(block, {})
    printed = [float(number) for number in re.findall(r"[\d.]+", capsys.readouterr().out)]
    assert printed == pytest.approx([2.0, 2.0], abs=1e-5)
