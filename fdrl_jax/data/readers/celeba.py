"""CelebA, aligned and cropped (https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html): a folder of JPEGs or the archive."""

import os
import pathlib
import threading
import zipfile

from fdrl_jax.data.readers.base import (
    MAX_ENCODED,
    EncodedReader,
    check_inside,
    choose_split,
    existing,
    signature,
)
from fdrl_jax.data.readers.messages import one_line, printable
from fdrl_jax.types import InputError
from fdrl_jax.utils.untrusted_files import escapes, read_bytes

_SPLITS = ("train", "valid", "test")  # Written as 0, 1 and 2 in the partition file.
_IMAGES, _PARTITION = "img_align_celeba", "list_eval_partition"
_DOWNLOAD = "get it from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
_WANTED = f"a folder with {_IMAGES}.zip or {_IMAGES}/, and {_PARTITION}.txt: {_DOWNLOAD}"

# The authors' download has Img/ and Eval/; torchvision makes celeba/; Kaggle's copy has the folder of images twice.
_SUBFOLDERS = ("", "Img", "Eval", "celeba")


def celeba(path: str | os.PathLike[str], split: str = "train") -> EncodedReader:
    """Open the photographs of one split, 178 pixels wide and 218 high, as RGB, in the order of the partition file.

    Args:
      path: a folder with img_align_celeba/ or img_align_celeba.zip, and list_eval_partition.txt (or Kaggle's .csv).
      split: "train", "valid" or "test".

    Raises:
      InputError: the files do not exist, the archive or the partition file is damaged, or an image is missing that the
        partition file lists.
    """
    choose_split(split, _SPLITS)
    root = existing(path, _WANTED)
    partition = _first(root, f"{_PARTITION}.txt", f"{_PARTITION}.csv")
    images = _first(root, f"{_IMAGES}/{_IMAGES}", _IMAGES, f"{_IMAGES}.zip")
    for wanted, file in ((f"{_IMAGES}/ or {_IMAGES}.zip", images), (f"{_PARTITION}.txt", partition)):
        if file is None:
            raise InputError(f"{root} has no {wanted}: config.data.path must be {_WANTED}")
    assert partition is not None
    assert images is not None
    for path in (images, partition):
        check_inside(root, path)
    names = _listed(partition, split)
    return _from_folder(images, partition, names) if images.is_dir() else _from_zip(images, partition, names, split)


def _first(folder: pathlib.Path, *names: str) -> pathlib.Path | None:
    candidates = (folder / subfolder / name for subfolder in _SUBFOLDERS for name in names)
    return next((path for path in candidates if path.exists()), None)


def _listed(partition: pathlib.Path, split: str) -> list[str]:
    """Return the names of the files that `partition` lists for `split`.

    Raises:
      InputError: the partition file cannot be read, has a malformed line, or lists no file of that split.
    """
    try:
        lines = read_bytes(partition, MAX_ENCODED).decode().splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{partition} cannot be read ({one_line(error)}): {_DOWNLOAD}") from None
    names = []
    for number, line in enumerate(lines, 1):
        words = line.replace(",", " ").split()
        if not words or words == ["image_id", "partition"]:
            continue
        if len(words) != 2 or words[1] not in ("0", "1", "2"):
            raise InputError(
                f"{partition} line {number} is {line[:40]!r}, not like '000001.jpg 0' (0, 1 or 2): {_DOWNLOAD}"
            )
        if _SPLITS[int(words[1])] == split:
            names.append(words[0])
    if not names:
        raise InputError(f"{partition} lists no image of split {split!r} ({_SPLITS.index(split)}): {_DOWNLOAD}")
    return names


def _from_folder(folder: pathlib.Path, partition: pathlib.Path, names: list[str]) -> EncodedReader:
    # Looking up 160,000 files one by one, instead of listing them, would take minutes on a network disk.
    with os.scandir(folder) as entries:
        stats = {}
        for entry in entries:
            if entry.is_symlink():
                check_inside(folder, folder / entry.name)
            if entry.is_file():
                stats[entry.name] = entry.stat()
    _check_complete(names, set(stats), partition, folder)
    files = [(name, stats[name]) for name in names]
    return EncodedReader(
        len(names),
        lambda index: printable(str(folder / names[index])),
        lambda index: read_bytes(folder / names[index], MAX_ENCODED),
        signature([(partition.name, partition.stat()), *files]),
        rgb=True,
    )


def _from_zip(path: pathlib.Path, partition: pathlib.Path, names: list[str], split: str) -> EncodedReader:
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # For a damaged archive zipfile also raises errors of other types than its own.
        raise InputError(f"{path} is not a zip archive, or damaged ({one_line(error)}): {_DOWNLOAD}") from None
    for info in archive.infolist():
        if escapes(info.filename):
            raise InputError(f"{path} has a member {info.filename[:100]!r}, which leads out of a folder: {_DOWNLOAD}")
    members = {pathlib.PurePosixPath(info.filename).name: info for info in archive.infolist() if not info.is_dir()}
    _check_complete(names, set(members), partition, path)
    lock = threading.Lock()  # All threads read one open file. Decoding, most of the work, does not hold the lock.

    def load(index: int) -> bytes:
        member = members[names[index]]
        if member.file_size > MAX_ENCODED:
            raise ValueError(f"it would unpack to {member.file_size:,} bytes, more than {MAX_ENCODED:,}")
        with lock:
            return archive.read(member)

    digest = signature([(partition.name, partition.stat()), (path.name, path.stat())], split)
    return EncodedReader(len(names), lambda index: printable(f"{path}: {names[index]}"), load, digest, rgb=True)


def _check_complete(names: list[str], present: set[str], partition: pathlib.Path, source: pathlib.Path) -> None:
    missing = [name for name in names if name not in present]
    if missing:
        raise InputError(
            f"{source} has no {printable(missing[0])[:100]}, which {partition.name} lists ({len(missing)} of its "
            f"{len(names)} images are missing): {_DOWNLOAD}"
        )
