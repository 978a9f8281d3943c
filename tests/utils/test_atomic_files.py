"""Atomic writing, and appending whole pieces, also where the file system refuses to write."""

import os
import resource

import pytest

from fdrl_jax.utils import atomic_files


@pytest.fixture
def largest_file():
    """Return a function that limits the size in bytes of the files of this process; None removes the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size is None else size, hard))

    yield limit
    limit(None)


@pytest.mark.parametrize("durable", [False, True])
def test_a_finished_write_replaces_the_old_file(durable, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_files.atomic(path, durable=durable) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".txt")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with atomic_files.atomic(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_names_the_file_and_leaves_the_old_one(tmp_path, largest_file):
    path = tmp_path / "data.bin"
    path.write_bytes(b"old")
    largest_file(5000)
    with pytest.raises(OSError, match="File too large") as caught, atomic_files.atomic(path) as temporary:
        temporary.write_bytes(bytes(6000))
    assert caught.value.filename == str(path)
    largest_file(None)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["data.bin"]


def test_a_piece_is_added_whole_or_not_at_all(tmp_path, largest_file):
    file = atomic_files.AppendOnlyFile(tmp_path / "new" / "log")
    file.add(b"a" * 3000)
    largest_file(5000)  # Two thirds of the next piece fit.
    for count in (1, 2):
        with pytest.raises(OSError, match="File too large"):
            file.add(bytes([ord("a") + count]) * 3000)
        assert file.path.read_bytes() == b"a" * 3000
        assert file.waiting == count
    largest_file(None)
    file.add(b"d")
    assert file.path.read_bytes() == b"a" * 3000 + b"b" * 3000 + b"c" * 3000 + b"d"
    assert not file.waiting


def test_truncate_shortens_a_file_and_never_lengthens_it(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"abcdef")
    for size, content in ((9, b"abcdef"), (2, b"ab"), (0, b"")):
        atomic_files.truncate(path, size)
        assert path.read_bytes() == content


def test_sync_takes_files_and_folders(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    atomic_files.sync(tmp_path / "a")
    atomic_files.sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        atomic_files.sync(tmp_path / "absent")
    assert os.listdir(tmp_path) == ["a"]
