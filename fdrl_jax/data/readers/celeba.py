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
    one_line,
    printable,
    signature,
)
from fdrl_jax.types import InputError
from fdrl_jax.untrusted import escapes, read_bytes

_SPLITS = ("train", "valid", "test")  # 0, 1 and 2 in the partition's file.
_IMAGES, _PARTITION = "img_align_celeba", "list_eval_partition"
_SOURCE = "get it from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
_WANTED = f"a folder with {_IMAGES}.zip or {_IMAGES}/, and {_PARTITION}.txt: {_SOURCE}"

# Its own download has Img/ and Eval/; torchvision makes celeba/; Kaggle's copy has a folder in the folder.
_SUBFOLDERS = ("", "Img", "Eval", "celeba")


def celeba(path: str | os.PathLike[str], split: str = "train") -> EncodedReader:
    """The 178x218 photographs of one split, in the partition's order, as RGB.

    Args:
      path: a folder with img_align_celeba/ or img_align_celeba.zip, and list_eval_partition.txt (or Kaggle's .csv).
      split: "train", "valid" or "test".

    Raises:
      InputError: no such files, a damaged archive or partition, or an image that the partition names is missing.
    """
    choose_split(split, _SPLITS)
    found = existing(path, _WANTED)
    partition = _first(found, f"{_PARTITION}.txt", f"{_PARTITION}.csv")
    place = _first(found, f"{_IMAGES}/{_IMAGES}", _IMAGES, f"{_IMAGES}.zip")
    for what, there in ((f"{_IMAGES}/ or {_IMAGES}.zip", place), (f"{_PARTITION}.txt", partition)):
        if there is None:
            raise InputError(f"{found} has no {what}: config.data.path must be {_WANTED}")
    assert partition is not None
    assert place is not None
    for path in (place, partition):
        check_inside(found, path)
    names = _listed(partition, split)
    return _from_folder(place, partition, names) if place.is_dir() else _from_zip(place, partition, names, split)


def _first(folder: pathlib.Path, *names: str) -> pathlib.Path | None:
    places = (folder / subfolder / name for subfolder in _SUBFOLDERS for name in names)
    return next((place for place in places if place.exists()), None)


def _listed(partition: pathlib.Path, split: str) -> list[str]:
    """The files that `partition` says are of `split`."""
    try:
        lines = read_bytes(partition, MAX_ENCODED).decode().splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{partition} cannot be read ({one_line(error)}): {_SOURCE}") from None
    names = []
    for number, line in enumerate(lines, 1):
        words = line.replace(",", " ").split()
        if not words or words == ["image_id", "partition"]:
            continue
        if len(words) != 2 or words[1] not in ("0", "1", "2"):
            raise InputError(
                f"{partition} line {number} is {line[:40]!r}, not like '000001.jpg 0' (0, 1 or 2): {_SOURCE}"
            )
        if _SPLITS[int(words[1])] == split:
            names.append(words[0])
    if not names:
        raise InputError(f"{partition} lists no image of split {split!r} ({_SPLITS.index(split)}): {_SOURCE}")
    return names


def _from_folder(folder: pathlib.Path, partition: pathlib.Path, names: list[str]) -> EncodedReader:
    with os.scandir(folder) as entries:  # One by one, 160,000 files would take minutes on a network disk.
        stats = {}
        for entry in entries:
            if entry.is_symlink():
                check_inside(folder, folder / entry.name)
            if entry.is_file():
                stats[entry.name] = entry.stat()
    _check(names, set(stats), partition, folder)
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
    except Exception as error:  # zipfile has more than its own for what is not well formed.
        raise InputError(f"{path} is not a zip archive, or damaged ({one_line(error)}): {_SOURCE}") from None
    for info in archive.infolist():
        if escapes(info.filename):
            raise InputError(f"{path} has a member {info.filename[:100]!r}, which leads out of a folder: {_SOURCE}")
    members = {pathlib.PurePosixPath(info.filename).name: info for info in archive.infolist() if not info.is_dir()}
    _check(names, set(members), partition, path)
    lock = threading.Lock()  # The archive is one open file. Decoding, most of the work, is outside.

    def load(index: int) -> bytes:
        member = members[names[index]]
        if member.file_size > MAX_ENCODED:
            raise ValueError(f"it would unpack to {member.file_size:,} bytes, more than {MAX_ENCODED:,}")
        with lock:
            return archive.read(member)

    digest = signature([(partition.name, partition.stat()), (path.name, path.stat())], split)
    return EncodedReader(len(names), lambda index: printable(f"{path}: {names[index]}"), load, digest, rgb=True)


def _check(names: list[str], present: set[str], partition: pathlib.Path, place: pathlib.Path) -> None:
    missing = [name for name in names if name not in present]
    if missing:
        raise InputError(
            f"{place} has no {printable(missing[0])[:100]}, which {partition.name} lists ({len(missing)} of its "
            f"{len(names)} images are missing): {_SOURCE}"
        )
