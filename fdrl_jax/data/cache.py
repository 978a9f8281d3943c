"""Images read from disk once, and kept as one memory-mapped uint8 file.

    CACHE/NAME/images.u8     uint8 [n, H, W, C] in C order, nothing else
    CACHE/NAME/labels.npy    int64 [n], where the source has labels
    CACHE/NAME/meta.json     shape, fingerprint, digest of the images, names of those that were skipped
    CACHE/NAME.part/         the same while it is being made; progress.json says how far it is
    CACHE/NAME.lock          held by the process that makes it

A folder without `.part` is whole: it got its name by a rename, after everything in it was written. NAME has a hash of
the source's path, what of it is read, and the transform; the fingerprint inside is that of the files' names, sizes and
times, and the digest that of the pixels.
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
from fdrl_jax.files import atomic
from fdrl_jax.types import InputError
from fdrl_jax.untrusted import load_json

Images = UInt8[np.ndarray, "n h w c"]

IMAGES, LABELS, META, PROGRESS = "images.u8", "labels.npy", "meta.json", "progress.json"

# Part of every fingerprint: raise it when the same files give other bytes.
_FORMAT = 1

# Images between two records of progress. What is lost when a preparation is killed is at most this many.
_CHUNK = 1024

# Left free beside the cache, so that the disk is not filled to the last byte.
_SPARE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Source:
    """What a cache is made of.

    Attributes:
      name: of the data set, for the cache's folder and for messages.
      path: where the files are, as the user wrote it.
      reader: of the files.
      selection: what of the files is read, where it is not all of them: a split, a part.
      transform: from a file's image to [image_size, image_size, channels].
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
        """Of the cache, if no image is skipped."""
        return len(self.reader) * int(np.prod(self.image_shape))

    def folder(self, root: pathlib.Path) -> pathlib.Path:
        """The cache's folder below `root`."""
        absolute = os.path.abspath(os.path.expanduser(self.path))
        return root / f"{self.name}-{_digest(absolute, self._recipe())}"

    def fingerprint(self) -> str:
        """Changes when the files or what is made of them do."""
        return _digest(self.reader.signature(), self._recipe(), _FORMAT)

    def _recipe(self) -> list[Any]:
        return [self.selection, self.transform.spec, *self.image_shape]


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Cached:
    """A finished cache.

    Attributes:
      images: uint8 [n, H, W, C], memory-mapped, read-only.
      labels: int64 [n], or None where the source has none.
      skipped: names of the images that could not be used.
      digest: of `images`; the same for the same pixels, wherever they came from.
    """

    images: Images
    labels: Int64[np.ndarray, " n"] | None
    skipped: tuple[str, ...]
    digest: str


def load(source: Source, root: pathlib.Path) -> Cached | None:
    """The finished cache of `source`, or None where there is none, its files have changed since, or images that may
    not be skipped now were skipped then.

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
    """The cache of `source`, made if there is none; a preparation that was interrupted goes on where it was.

    Args:
      source: what to read.
      root: where caches are kept.
      progress: show a progress bar.
      workers: threads that decode; the number of CPU cores by default.

    Raises:
      InputError: too little disk, an image that cannot be used (unless they are skipped), no usable image, or the
        cache cannot be written.
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
        raise InputError(f"the files in {source.path} changed while they were read: leave them alone and start again")
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
        shutil.rmtree(folder)  # Of an older state of the same files. A run that has it mapped keeps its pages.
    os.rename(part, folder)
    if skipped:
        count = f"{len(skipped)} of {len(source.reader)} images"
        print(f"{count} in {source.path} were skipped; the last: {state['last_error']}")


def _resume(part: pathlib.Path, fingerprint: str, on_error: str) -> dict[str, Any]:
    """How far an interrupted preparation of the same files came; a fresh start for any other."""
    try:
        state = load_json(part / PROGRESS)
        whole = all(type(state[name]) is int and state[name] >= 0 for name in ("read", "written"))
        whole = whole and isinstance(state["skipped"], list) and all(type(i) is int for i in state["skipped"])
        if whole and state["fingerprint"] == fingerprint and not (state["skipped"] and on_error == "stop"):
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
    """Read from `state["read"]` on, in chunks, keeping `state` and its record on disk up to date."""
    image_bytes, total = int(np.prod(source.image_shape)), len(source.reader)

    def read(index: int) -> np.ndarray | str:
        """The image, or what is wrong with it."""
        try:
            return source.transform(source.reader.read(index))
        # Decoders raise many types (OSError, SyntaxError, struct.error, lmdb's and zipfile's own), for one reason.
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
                            # What another config would mend says so itself.
                            hint = ". Repair or remove it, or use --config.data.on_error=skip to do without"
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
