"""Image cache: images are read from their files once, and then kept as one memory-mapped uint8 file.

    CACHE/NAME/images.u8     uint8 [n, H, W, C] in C order, nothing else
    CACHE/NAME/labels.npy    int64 [n], if the source has labels
    CACHE/NAME/meta.json     shape, fingerprint, digest of the images, names of the skipped images
    CACHE/NAME.part/         the same during the preparation; progress.json stores its progress
    CACHE/NAME.lock          locked by the process that prepares the cache

A folder without `.part` is complete: it is renamed to that name after everything in it is written. NAME contains a hash
of the source's path, of the selection of its images, and of the transform. The fingerprint in meta.json is a hash of
the files' names, sizes and modification times, and the digest one of the pixels.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64, UInt8
from tqdm.auto import tqdm

from fdrl_jax.data.readers import Reader
from fdrl_jax.data.transform import Transform
from fdrl_jax.types import InputError
from fdrl_jax.utils.atomic_files import atomic
from fdrl_jax.utils.untrusted_files import load_json

Images = UInt8[np.ndarray, "n h w c"]

IMAGES, LABELS, META, PROGRESS = "images.u8", "labels.npy", "meta.json", "progress.json"

# Version of the cache's contents, part of every fingerprint: raise it when the same files produce other bytes.
_FORMAT = 1

# Number of images between two writes of progress.json. A preparation that is killed loses at most this many.
_CHUNK = 1024

# Disk space that must remain free after the preparation, so that the disk is never full.
_SPARE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Source:
    """The images of which a cache is made.

    Attributes:
      name: name of the data set, for the cache's folder and for messages.
      path: path of the files, as the user wrote it.
      selection: description of the part of the files that is read, such as a split.
      reader: reader of the files.
      transform: map from a file's image to uint8 [image_size, image_size, channels].
      on_error: "stop" at the first image that cannot be used, or "skip" such images and count them.
    """

    name: str
    path: str
    selection: str
    reader: Reader
    transform: Transform
    on_error: Literal["stop", "skip"] = "stop"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return (self.transform.image_size, self.transform.image_size, self.transform.channels)

    @property
    def num_bytes(self) -> int:
        """The size of the images in the cache in bytes, if no image is skipped."""
        return len(self.reader) * int(np.prod(self.image_shape))

    def folder(self, root: pathlib.Path) -> pathlib.Path:
        """The folder of this cache inside `root`."""
        absolute = os.path.abspath(os.path.expanduser(self.path))
        return root / f"{self.name}-{_digest(absolute, self._recipe())}"

    def fingerprint(self) -> str:
        """A hash that changes when the files, the transform or the cache's format change."""
        return _digest(self.reader.signature(), self._recipe(), _FORMAT)

    def _recipe(self) -> list[Any]:
        return [self.selection, self.transform.spec, *self.image_shape]


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Cached:
    """A finished cache.

    Attributes:
      images: the images, uint8 [n, H, W, C], memory-mapped, read-only.
      labels: the classes, int64 [n], or None if the source has none.
      skipped: names of the images that could not be used.
      digest: hash of `images`, equal for equal pixels, whatever files they came from.
    """

    images: Images
    labels: Int64[np.ndarray, " n"] | None
    skipped: tuple[str, ...]
    digest: str


def load(source: Source, root: pathlib.Path) -> Cached | None:
    """Open the finished cache of `source`.

    Returns:
      The cache, or None if there is none, if the files have changed since it was made, or if it was made without
      images that `source` does not allow to skip.

    Raises:
      InputError: the cache is damaged.
    """
    folder = source.folder(root)
    if not folder.is_dir():
        return None
    try:
        meta = load_json(folder / META)
        if meta["fingerprint"] != source.fingerprint() or (meta["skipped"] and source.on_error == "stop"):
            return None
        shape = tuple(meta["shape"])
        if shape[1:] != source.image_shape or type(shape[0]) is not int or shape[0] < 1:
            raise ValueError(f"{META} has images of another shape than {list(source.image_shape)}")
        size = (folder / IMAGES).stat().st_size
        if size != np.prod(shape):
            raise ValueError(f"{IMAGES} has {size} bytes, not {np.prod(shape)}")
        images = np.memmap(folder / IMAGES, np.uint8, "r", shape=shape)
        labels = np.load(folder / LABELS, mmap_mode="r", allow_pickle=False) if meta["labels"] else None
        if labels is not None and (labels.shape != shape[:1] or labels.dtype != np.int64):
            raise ValueError(f"{LABELS} has {labels.dtype} {list(labels.shape)}")
        labels = None if labels is None else np.array(labels)
        return Cached(images, labels, tuple(map(str, meta["skipped"])), str(meta["digest"]))
    except (ValueError, KeyError, TypeError, IndexError, OSError, EOFError, SyntaxError) as error:
        raise InputError(f"the image cache {folder} is damaged ({error}): remove that folder") from None


def prepare(source: Source, root: pathlib.Path, progress: bool = True, workers: int | None = None) -> Cached:
    """Open the cache of `source`, or make it if there is none. An interrupted preparation is resumed.

    Args:
      source: the images to prepare.
      root: folder in which caches are stored.
      progress: show a progress bar.
      workers: number of threads that decode images; by default that of the CPU cores.

    Raises:
      InputError: there is too little disk space, an image cannot be used (unless such images are skipped), no image can
        be used, or the cache cannot be written.
    """
    cached = load(source, root)
    if cached is not None:
        return cached
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(source.folder(root).with_suffix(".lock")):
            cached = load(source, root)  # Another process may have made it while this one waited.
            if cached is None:
                _make(source, root, progress, workers or os.cpu_count() or 1)
                cached = load(source, root)
    except OSError as error:
        raise InputError(
            f"the image cache in {root} cannot be written ({error.strerror or error}): "
            "choose another place with --config.data.cache=FOLDER"
        ) from None
    if cached is None:
        raise InputError(
            f"the files in {source.path} changed while they were read: do not change them, and start again"
        )
    return cached


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process is preparing {path.with_suffix('')}: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(source: Source, root: pathlib.Path, progress: bool, workers: int) -> None:
    folder = source.folder(root)
    part = folder.with_name(f"{folder.name}.part")
    fingerprint = source.fingerprint()
    state = _resume(part, fingerprint, source.on_error)
    _check_disk(source, root, already=state["written"] * int(np.prod(source.image_shape)))
    _read_all(source, part, state, progress, workers)

    shape = (state["written"], *source.image_shape)
    if state["written"] == 0:
        raise InputError(f"none of the {len(source.reader)} images in {source.path} can be used: {state['last_error']}")
    os.truncate(part / IMAGES, int(np.prod(shape)))
    labels = source.reader.labels
    if labels is not None:
        keep = np.ones(len(labels), bool)
        keep[state["skipped"]] = False
        np.save(part / LABELS, np.asarray(labels, np.int64)[keep])
    skipped = [source.reader.name(i) for i in state["skipped"]]
    with (part / IMAGES).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    meta = {"shape": shape, "fingerprint": fingerprint, "digest": digest, "labels": labels is not None}
    meta |= {"skipped": skipped, "selection": source.selection}
    (part / META).write_text(json.dumps(meta | {"source": source.path, "transform": source.transform.spec}, indent=1))
    if folder.exists():
        shutil.rmtree(folder)  # It was made from older files. A run that has it memory-mapped keeps its pages.
    os.rename(part, folder)
    if skipped:
        count = f"{len(skipped)} of {len(source.reader)} images"
        print(f"{count} in {source.path} were skipped; the last: {state['last_error']}")


def _resume(part: pathlib.Path, fingerprint: str, on_error: str) -> dict[str, Any]:
    """Return the progress of an interrupted preparation of the same files; otherwise empty `part` and start at zero."""
    try:
        state = load_json(part / PROGRESS)
        valid = all(type(state[name]) is int and state[name] >= 0 for name in ("read", "written"))
        valid = valid and isinstance(state["skipped"], list) and all(type(i) is int for i in state["skipped"])
        if valid and state["fingerprint"] == fingerprint and not (state["skipped"] and on_error == "stop"):
            return state
    except (OSError, ValueError, KeyError, TypeError):
        pass
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    (part / IMAGES).touch()
    return {"fingerprint": fingerprint, "read": 0, "written": 0, "skipped": [], "last_error": ""}


def _check_disk(source: Source, root: pathlib.Path, already: int) -> None:
    needed, free = source.num_bytes - already + _SPARE_BYTES, shutil.disk_usage(root).free
    if needed > free:
        raise InputError(
            f"the image cache of {len(source.reader)} images needs {needed / 2**30:.1f} GiB in {root}, which has "
            f"{free / 2**30:.1f} GiB left: make room, or choose another place with --config.data.cache=FOLDER"
        )


def _read_all(source: Source, part: pathlib.Path, state: dict[str, Any], progress: bool, workers: int) -> None:
    """Read the images from index `state["read"]` on, in chunks, and update `state` and progress.json after each."""
    image_bytes, total = int(np.prod(source.image_shape)), len(source.reader)

    def read(index: int) -> np.ndarray | str:
        """Return the image, or a message that says why it cannot be used."""
        try:
            return source.transform(source.reader.read(index))
        # Decoders raise exceptions of many types (OSError, SyntaxError, struct.error, those of lmdb and zipfile) for
        # the same reason: the file is damaged.
        except Exception as error:
            message = (
                str(error) if isinstance(error, ValueError) else f"cannot be read ({type(error).__name__}: {error})"
            )
            return f"{source.reader.name(index)} {' '.join(message.split())}"

    bar = tqdm(total=total, initial=state["read"], desc=f"prepare {source.name}", unit="image", disable=not progress)
    with bar, ThreadPoolExecutor(workers) as pool, (part / IMAGES).open("r+b") as file:
        file.seek(state["written"] * image_bytes)
        starts = range(state["read"], total, _CHUNK)

        def submit(start: int) -> list[Future[np.ndarray | str]]:
            return [pool.submit(read, i) for i in range(start, min(start + _CHUNK, total))]

        ahead = submit(starts[0]) if starts else []
        for start in starts:
            current, ahead = ahead, submit(start + _CHUNK)
            try:
                for index, future in enumerate(current, start):
                    image = future.result()
                    if isinstance(image, str):
                        if source.on_error == "stop":
                            # The message for an image that another config can use says which one.
                            hint = ". Repair or remove it, or use --config.data.on_error=skip to skip it"
                            raise InputError(image if "config.data." in image else image + hint)
                        state["skipped"].append(index)
                        state["last_error"] = image
                    else:
                        file.write(image.tobytes())
                        state["written"] += 1
                    bar.update()
            except BaseException:
                for future in ahead + current:
                    future.cancel()
                raise
            file.flush()
            os.fsync(file.fileno())
            state["read"] = start + len(current)
            with atomic(part / PROGRESS) as path:
                path.write_text(json.dumps(state))
