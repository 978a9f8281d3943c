"""A disk that is full or read-only: nothing on it is lost, and the same command goes on when it is mended."""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import time

import jax
import numpy as np
import pytest
import shrink
from tensorboardX.proto import event_pb2

import fdrl_jax
from fdrl_jax import cli
from fdrl_jax.experiment import builders, checkpoint, manifest
from fdrl_jax.experiment.model import abstract_state
from fdrl_jax.experiment.workdir_files import read_config
from fdrl_jax.training import run_log
from fdrl_jax.types import InputError
from fdrl_jax.utils import atomic_files

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class SmallDisk:
    """A file system of 2 MiB in memory."""

    def __init__(self, folder):
        self.folder, self._filler = folder, folder / "filler"

    def fill(self):
        # Zeros until nothing goes in any more.
        with self._filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        assert shutil.disk_usage(self.folder).free == 0

    def empty(self):
        self._filler.unlink()


class PatchedDisk:
    """A folder, and writing that is made to fail. Not what orbax writes, but the manifest that comes after it."""

    def __init__(self, folder, patch):
        self.folder, self._patch = folder, patch

    def fill(self):
        def fail(*_):
            raise FULL

        for owner, name in ((atomic_files, "_write_all"), (run_log, "save_picture"), (manifest, "write")):
            self._patch.setattr(owner, name, fail)

    def empty(self):
        self._patch.undo()


def mounted(folder):
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    mounted(folder)
    yield SmallDisk(folder)
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(params=["real", "patched"])
def disk(request, tmp_path, monkeypatch):
    if request.param == "real":
        return request.getfixturevalue("small_disk")
    (tmp_path / "disk").mkdir()
    return PatchedDisk(tmp_path / "disk", monkeypatch)


@pytest.fixture
def during(monkeypatch):
    """Have functions called as steps begin: {step: function}, counted from the start of the process's training."""

    patches = []

    def apply(actions):
        patch = pytest.MonkeyPatch()
        patches.append(patch)
        advance, count = run_log.RunLog.advance, iter(range(1000))

        def and_act(self):
            advance(self)
            actions.get(next(count), lambda: None)()

        patch.setattr(run_log.RunLog, "advance", and_act)

    yield apply
    for patch in patches:
        patch.undo()


def config_of(**fields):
    config = shrink.tiny_points(num_steps=12)
    config.train.update(log_every=1, checkpoint_every=4, sample_every=5, keep=1)
    config.train.update(fields)
    return config


def outcome(workdir):
    config = read_config(workdir)
    with checkpoint.Checkpoints(workdir) as checkpoints:
        state = checkpoints.restore(12, abstract_state(builders.build(config)))
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)], (workdir / "metrics.jsonl").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run on a good disk comes to."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    shrink.trained(config_of(), workdir)
    return outcome(workdir)


def until_saved(workdir, step):
    """Checkpoints are written while training goes on."""
    end = time.monotonic() + 30
    while not (workdir / "checkpoints" / str(step) / "manifest.json").exists():
        assert time.monotonic() < end
        time.sleep(0.01)


# --- checkpoints ---


def test_a_checkpoint_that_cannot_be_written_ends_the_run_and_spoils_nothing(disk, during, whole, capfd):
    workdir = disk.folder / "run"
    during({5: lambda: (until_saved(workdir, 4), disk.fill())})
    with pytest.raises(InputError) as caught:
        shrink.trained(config_of(), workdir)
    assert str(caught.value) == (
        f"checkpoint {workdir / 'checkpoints' / '8'} cannot be written (No space left on device); checkpoint 4 is "
        "whole. Fix that, and repeat the same command to resume"
    )
    # Orbax's tracebacks are not shown.
    assert "Traceback" not in "".join(capfd.readouterr())
    assert [path.name for path in (workdir / "checkpoints").iterdir()] == ["4"]
    with checkpoint.Checkpoints(workdir) as checkpoints:
        assert checkpoints.newest() == 4
    assert fdrl_jax.load(workdir).step == 4
    disk.empty()
    shrink.trained(config_of(), workdir)
    assert outcome(workdir) == whole


def test_the_last_checkpoint_of_a_run_counts_too(disk, during):
    workdir = disk.folder / "run"
    during({9: lambda: (until_saved(workdir, 8), disk.fill())})
    with pytest.raises(InputError, match=r"12 cannot be written .* checkpoint 8 is whole"):
        shrink.trained(config_of(), workdir)


def test_a_step_that_is_whole_is_kept_where_the_old_one_cannot_be_removed(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(checkpoint.Checkpoints, "prune", fail)
    with pytest.raises(InputError, match=r"4 cannot be written \(Read-only file system\); checkpoint 4 is whole"):
        shrink.trained(config_of(), tmp_path)
    assert fdrl_jax.load(tmp_path).step == 4


def test_starting_on_a_full_disk_is_one_line_and_exit_code_2(small_disk, whole, capfd, tmp_path):
    workdir = small_disk.folder / "run"
    config = tmp_path / "config.py"
    text = (
        f"from ml_collections import ConfigDict\n\ndef get_config():\n    return ConfigDict({config_of().to_dict()})\n"
    )
    config.write_text(text)
    command = ["main.py", f"--config={config}", f"--workdir={workdir}", "--compile_cache=off"]
    small_disk.fill()
    assert cli.run(command) == 2
    said = capfd.readouterr().err.splitlines()
    assert said == [f"error: cannot read or write {workdir / 'manifest.json'}: No space left on device"]
    small_disk.empty()
    assert cli.run([*command, "--config.train.num_steps=4"]) == 0
    small_disk.fill()
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    capfd.readouterr()
    assert cli.run(command) == 2
    (said,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    assert "No space left on device" in said
    after = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before
    small_disk.empty()
    assert cli.run(command) == 0
    assert outcome(workdir) == whole


# --- logs and pictures ---


def test_training_goes_on_without_logs_and_they_come_when_the_disk_has_room(disk, during, whole, capsys):
    workdir = disk.folder / "run"
    # One checkpoint, at the end.
    during({3: disk.fill, 8: disk.empty})
    shrink.trained(config_of(checkpoint_every=12), workdir)
    said = capsys.readouterr().out
    # A line still fits into the last block of its file.
    for what in ("samples", "tensorboard", *(["metrics.jsonl"] if isinstance(disk, PatchedDisk) else [])):
        assert said.count(f"{what} cannot be written (No space left on device): training goes on without\n") == 1
        assert said.count(f"{what} can be written again") == 1
    assert (workdir / "metrics.jsonl").read_bytes() == whole[1]
    assert sorted(path.name for path in (workdir / "samples").iterdir()) == ["00000010.png", "00000012.png"]
    events = list(read_events(b"".join(path.read_bytes() for path in (workdir / "tensorboard").iterdir())))
    assert [e.step for e in events if any(v.tag == "loss" for v in e.summary.value)] == list(range(1, 13))


def test_lines_that_were_never_written_are_named_at_the_end(tmp_path, monkeypatch, capsys):
    disk = PatchedDisk(tmp_path, monkeypatch)
    observer = run_log.RunLog(tmp_path, 0, 4, progress=False)
    row = {"loss": 1.0, "ratio_data": 1.0, "ratio_flow": 1.0}
    with observer:
        observer.log(1, row)
        disk.fill()
        observer.log(2, row)
        observer.log(3, row)
        observer.diagnose(3, {"step": 3, "metrics": {}})
    said = capsys.readouterr().out
    assert "metrics.jsonl lacks its last 2 lines, which could not be written" in said
    assert "diagnostics.jsonl lacks its last 1 lines" in said
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1]


def read_events(content):
    """Events of a TensorBoard file: length (8 bytes), its checksum (4), the event, its checksum (4), and again."""
    while content:
        length = int.from_bytes(content[:8], "little")
        event = event_pb2.Event()
        event.ParseFromString(content[12 : 12 + length])
        yield event
        content = content[16 + length :]


# --- read-only ---


def test_a_read_only_workdir_is_refused_and_can_be_read(small_disk, capfd):
    workdir = small_disk.folder / "run"
    shrink.trained(config_of(num_steps=4), workdir)
    subprocess.run(["mount", "-o", "remount,ro", small_disk.folder], check=True)
    for where in (workdir, small_disk.folder / "new"):
        with pytest.raises(InputError, match="is no folder that can be written to"):
            shrink.trained(config_of(), where)
    assert fdrl_jax.sample(fdrl_jax.load(workdir), 0, 3, progress=False).shape == (3, 2)
    subprocess.run(["mount", "-o", "remount,rw", small_disk.folder], check=True)
    assert shrink.trained(config_of(), workdir).step == 12
    shutil.rmtree(workdir)
