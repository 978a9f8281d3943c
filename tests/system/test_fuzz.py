"""Damaged and hostile files: whatever their bytes, a reader gives data or one of our own errors, soon.

Examples are the same each time. FDRL_FUZZ=1000 tries so many of each file, and others each time.
"""

import contextlib
import copy
import gc
import hashlib
import io
import json
import os
import resource
import shutil
import tarfile
import time

import numpy as np
import pytest
import real_files
import shrink
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from paths import GOLDENS

import fdrl_jax
from fdrl_jax import data
from fdrl_jax.data import readers
from fdrl_jax.data.readers.decoding import decode
from fdrl_jax.data.transform import ImageError, Transform
from fdrl_jax.evaluation import features
from fdrl_jax.evaluation.report import write_report
from fdrl_jax.inference import classifiers
from fdrl_jax.inference.classifiers import trained
from fdrl_jax.models import convert
from fdrl_jax.types import InputError

TORCH_FILES = GOLDENS / "torch_files"
MORE = int(os.environ.get("FDRL_FUZZ", "0"))

# Of one example; and how much more memory than before all may take.
SECONDS, BYTES = 10, 2**30


def fuzz(count):
    """`count` examples, the same each time; or FDRL_FUZZ of them."""
    return settings(
        max_examples=MORE or count,
        derandomize=not MORE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],  # Shrinking an example that reads a run takes minutes.
    )


# --- what is done to bytes ---

PLACE = st.floats(0, 1, exclude_max=True)
EDIT = st.one_of(
    st.tuples(st.just("flip"), PLACE, st.integers(0, 7)),
    st.tuples(
        st.just("set"), PLACE, st.sampled_from([b"\x00", b"\xff", b"\x80\x00\x00\x00", b"\xff" * 8, b"[" * 2000])
    ),
    st.tuples(st.just("insert"), PLACE, st.binary(max_size=20)),
    st.tuples(st.just("cut"), PLACE, PLACE),
    st.tuples(st.just("copy"), PLACE, PLACE),
    st.tuples(st.just("end"), PLACE, st.none()),
)
# Some edits of the right file, or bytes that have nothing to do with it.
EDITS = st.one_of(st.lists(EDIT, min_size=1, max_size=6), st.binary(max_size=200))


def edited(content, edits):
    if isinstance(edits, bytes):
        return edits
    for kind, place, value in edits:
        at = int(place * (len(content) + 1))
        before, after = content[:at], content[at:]
        match kind:
            case "flip":
                content = before + bytes([after[0] ^ (1 << value)]) + after[1:] if after else before
            case "set":
                content = before + value + after[len(value) :]
            case "insert":
                content = before + value + after
            case "cut":
                content = before + after[int(value * 50) :]
            case "copy":
                start = int(value * len(content))
                content = before + content[start : start + 100] + after
            case "end":
                content = before
    return content


# --- what is done to JSON ---

ODD = st.sampled_from(
    [
        None, True, -1, 0, 1, 2**31, 2**64, 10**30, 1e308, float("inf"), float("nan"), 0.5, "", "x", "../../x",
        "/dev/zero", "x" * 10_000, [], {}, [[]], [1, 2], {"a": 1}, [[4, 10**9, 1]], [10**9] * 5, [[[[[[[[[[]]]]]]]]]],
        [None] * 2000,
    ]
)  # fmt: skip
REPLACEMENTS = st.lists(st.tuples(st.integers(0, 200), ODD, st.booleans()), min_size=1, max_size=3)


def replaced(content, replacements):
    """JSON in which some values, or the names of some, are others."""
    tree = json.loads(content)
    for index, value, rename in replacements:
        places = list(_places(tree))
        parent, key = places[index % len(places)]
        value = copy.deepcopy(value)  # It may be replaced in turn.
        if rename and isinstance(parent, dict):
            parent[str(value)[:50]] = parent.pop(key)
        else:
            parent[key] = value
    return json.dumps(tree).encode()


def _places(tree):
    for key in tree if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], (dict, list)):
            yield from _places(tree[key])


# --- the check ---


@pytest.fixture(autouse=True)
def memory():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < BYTES


def survives(read, allowed=InputError):
    """`read` ends soon, in a result or in one line of an error of ours."""
    start, message = time.monotonic(), ""
    try:
        read()
    except allowed as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 5000
    assert time.monotonic() - start < SECONDS


def fuzz_file(path, content, edits, read):
    path.write_bytes(edited(content, edits))
    try:
        survives(read)
    finally:
        path.write_bytes(content)


# --- images ---

PIXELS = real_files.colour_pictures("computed", 1, 12, 10)[0]
IMAGES = [real_files.encoded(PIXELS, kind) for kind in ("PNG", "JPEG", "WEBP")]
TRANSFORM = Transform.parse("resize:8,center_crop:8", 8, 3)


@fuzz(300)
@given(st.sampled_from(IMAGES), EDITS)
def test_images(content, edits):
    survives(lambda: TRANSFORM(decode(edited(content, edits))), ImageError)


# --- data sets ---


def read_all(reader):
    for index in range(len(reader)):
        with contextlib.suppress(ImageError):
            reader.read(index)
    return reader.labels


def tar(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Of each kind of data set: the folder, the file in it that is changed, and how it is read."""
    root = tmp_path_factory.mktemp("sets")
    pictures = real_files.colour_pictures("computed", 6, 32, 32)
    for binary in (False, True):
        real_files.write_files(root / f"cifar-{binary}", real_files.cifar_files(pictures, [1] * 6, binary))
    packed = {name: content[:400] for name, content in real_files.cifar_files(pictures, [1] * 6).items()}
    real_files.write_files(root / "tar", {"x.tar": tar(packed)})
    small = real_files.colour_pictures("computed", 4, 218, 178)
    real_files.write_celeba(root / "celeba", small, [0] * 4, zipped=True)
    real_files.write_idx(root / "idx", np.zeros((3, 4, 5), np.uint8), np.zeros(3, np.uint8))
    real_files.write_idx(root / "gz", np.zeros((3, 4, 5), np.uint8), np.zeros(3, np.uint8), zipped=True)
    (root / "arrays").mkdir()
    np.save(root / "arrays" / "x.npy", np.zeros((3, 4, 5, 3), np.uint8))
    np.savez(root / "arrays" / "x.npz", images=np.zeros((3, 4, 5, 3), np.uint8), labels=np.zeros(3))
    np.savez_compressed(root / "arrays" / "z.npz", np.zeros((3, 4, 5, 3), np.uint8))
    np.savez(root / "arrays" / "mu.npz", mu=np.zeros(3), sigma=np.eye(3))
    return {
        "cifar": ("cifar-False/data_batch_2", lambda: readers.cifar10(root / "cifar-False")),
        "cifar-binary": ("cifar-True/data_batch_2.bin", lambda: readers.cifar10(root / "cifar-True")),
        "cifar-tar": ("tar/x.tar", lambda: readers.cifar10(root / "tar" / "x.tar")),
        "celeba": ("celeba/list_eval_partition.txt", lambda: readers.celeba(root / "celeba")),
        "celeba-zip": ("celeba/img_align_celeba.zip", lambda: readers.celeba(root / "celeba")),
        "idx": ("idx/train-images-idx3-ubyte", lambda: readers.idx(root / "idx")),
        "idx-labels": ("idx/train-labels-idx1-ubyte", lambda: readers.idx(root / "idx")),
        "idx-gz": ("gz/train-images-idx3-ubyte.gz", lambda: readers.idx(root / "gz")),
        "npy": ("arrays/x.npy", lambda: readers.arrays(root / "arrays" / "x.npy")),
        "npz": ("arrays/x.npz", lambda: readers.arrays(root / "arrays" / "x.npz")),
        "npz-compressed": ("arrays/z.npz", lambda: readers.arrays(root / "arrays" / "z.npz")),
        "statistics": ("arrays/mu.npz", lambda: features.read_statistics(root / "arrays" / "mu.npz")),
    }, root  # fmt: skip


NAMES = (
    "cifar", "cifar-binary", "cifar-tar", "celeba", "celeba-zip", "idx", "idx-labels", "idx-gz", "npy", "npz",
    "npz-compressed", "statistics",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_data_sets(name, sets):
    (file, read), root = sets[0][name], sets[1]
    content = (root / file).read_bytes()

    @fuzz(40)
    @given(EDITS)
    def run(edits):
        fuzz_file(root / file, content, edits, lambda: read_all(read()) if name != "statistics" else read())

    run()


@fuzz(40)
@given(REPLACEMENTS)
def test_image_caches(tmp_path_factory, replacements):
    root = tmp_path_factory.mktemp("cache")
    images = np.zeros((3, 4, 4, 1), np.uint8)
    reader = readers.ArrayReader(images, np.arange(3), lambda i: f"image {i}", "digest")
    source = data.Source("x", "x", "", reader, Transform.parse("", 4, 1))
    data.prepare(source, root, progress=False)
    meta = source.folder(root) / "meta.json"
    meta.write_bytes(replaced(meta.read_bytes(), replacements))
    survives(lambda: data.prepare(source, root, progress=False))
    shutil.rmtree(root)


# --- files of PyTorch and safetensors ---

LOADERS = {
    "full.pt": lambda path: fdrl_jax.load(path, prior="uniform", loss="lsif", divergence="chi2"),
    "state_dict.pt": convert.read_checkpoint,
    "ddp.pt": convert.read_ddp,
    "network.safetensors": lambda path: fdrl_jax.load(path, prior="uniform", loss="lsif", divergence="chi2"),
}


@pytest.mark.parametrize("name", LOADERS)
def test_networks(name, tmp_path):
    path = tmp_path / name
    if name.endswith(".safetensors"):
        convert.save_safetensors(path, convert.read_checkpoint(TORCH_FILES / "full.pt")[0])
    else:
        shutil.copy(TORCH_FILES / name, path)
    content = path.read_bytes()

    @fuzz(30)
    @given(EDITS)
    def run(edits):
        fuzz_file(path, content, edits, lambda: LOADERS[name](path))

    run()


# --- runs ---


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of digits after two steps."""
    workdir = tmp_path_factory.mktemp("fuzz") / "run"
    shrink.trained(shrink.tiny_digits(num_steps=2), workdir)
    return workdir


def reseal(workdir):
    """Write the checksums of all files again, as whoever changes one on purpose would."""
    run = None
    for path in [workdir / "manifest.json", *workdir.glob("checkpoints/*/manifest.json")]:
        content = json.loads(path.read_text())
        body = content["body"]
        for name in body["files"] if isinstance(body.get("files"), dict) else ():
            if (path.parent / name).is_file():
                body["files"][name] = hashlib.sha256((path.parent / name).read_bytes()).hexdigest()
        if run is None:
            run = body
        else:
            body["run"] = run
        content = {name: content[name] for name in ("format", "version", "body")}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps(content | {"sha256": digest}))


def fuzz_run(workdir, name, change, sealed, read):
    """Read a run with one file changed, and its checksums made again where it is `sealed`."""
    manifests = [workdir / "manifest.json", *workdir.glob("checkpoints/*/manifest.json")]
    kept = {path: path.read_bytes() for path in {*manifests, workdir / name}}
    try:
        (workdir / name).write_bytes(change(kept[workdir / name]))
        if sealed and (workdir / name) not in manifests:
            reseal(workdir)
        elif sealed:
            content = json.loads((workdir / name).read_bytes())
            if not isinstance(content, dict) or not {"format", "version", "body"} <= content.keys():
                return
            content = {key: content[key] for key in ("format", "version", "body")}
            digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
            (workdir / name).write_text(json.dumps(content | {"sha256": digest}))
        survives(read)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


SETUP = ("config.json", "manifest.json", "prior.npz")


@pytest.mark.parametrize("name", SETUP)
@pytest.mark.parametrize("sealed", [False, True], ids=["", "sealed"])
def test_runs(name, sealed, run, capsys):
    @fuzz(10)
    @given(EDITS)
    def edit(edits):
        if sealed and name == "manifest.json":
            return
        fuzz_run(run, name, lambda content: edited(content, edits), sealed, lambda: fdrl_jax.load(run))

    @fuzz(25)
    @given(REPLACEMENTS)
    @example([(0, [[4, 10**9, 1]], False)])
    def replace(replacements):
        fuzz_run(run, name, lambda content: replaced(content, replacements), sealed, lambda: fdrl_jax.load(run))

    edit()
    if name.endswith(".json"):
        replace()


def test_the_config_of_a_run_with_its_manifest(run, capsys):
    """Both say the same: only what the config says is left to judge."""

    @fuzz(30)
    @given(REPLACEMENTS)
    def change(replacements):
        path = run / "manifest.json"
        kept = path.read_bytes()
        path.unlink()
        steps = list(run.glob("checkpoints/*/manifest.json"))
        contents = [step.read_bytes() for step in steps]
        for step in steps:
            step.unlink()
        config = (run / "config.json").read_bytes()
        try:
            (run / "config.json").write_bytes(replaced(config, replacements))
            survives(lambda: fdrl_jax.load(run))
        finally:
            path.write_bytes(kept)
            (run / "config.json").write_bytes(config)
            for step, content in zip(steps, contents, strict=True):
                step.write_bytes(content)

    change()


# Where one array cannot be read, orbax leaves the reads of others to end by themselves.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_steps(run, capsys):
    folder = run / "checkpoints" / "2"
    names = sorted(str(path.relative_to(run)) for path in folder.rglob("*") if path.is_file())

    @fuzz(40)
    @given(st.sampled_from(names), EDITS, st.booleans())
    def change(name, edits, sealed):
        sealed = sealed and not name.endswith("manifest.json")
        fuzz_run(run, name, lambda content: edited(content, edits), sealed, lambda: fdrl_jax.load(run))

    change()
    gc.collect()  # Here, where what orbax left may complain.


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@fuzz(16)
@given(st.sampled_from(["metrics.jsonl", "evaluation.jsonl", "diagnostics.jsonl", "best.json"]), EDITS, REPLACEMENTS)
def test_logs(run, capsys, name, edits, replacements):
    row = {"step": 2, "metric": "frechet", "value": 3.0, "features": "pixels", "interval": [1.0, 2.0], "reference": "x"}
    lines = [json.dumps(row).encode(), replaced(json.dumps(row), replacements), edited(json.dumps(row).encode(), edits)]
    kept = (run / name).read_bytes() if (run / name).exists() else None
    (run / name).write_bytes(b"\n".join(lines) if name != "best.json" else lines[1])
    try:
        survives(lambda: write_report(run, run / "report.html"))
        if name == "best.json":
            survives(lambda: fdrl_jax.load(run, step="best"))
    finally:
        (run / name).unlink() if kept is None else (run / name).write_bytes(kept)
        (run / "report.html").unlink(missing_ok=True)


def test_exported_models(run, tmp_path, capsys):
    folder = fdrl_jax.export(run, tmp_path / "exported", num_samples=1, progress=False)

    @fuzz(25)
    @given(st.sampled_from(["config.json", "model.safetensors", "prior.safetensors"]), EDITS, REPLACEMENTS)
    def change(name, edits, replacements):
        path, content = folder / name, (folder / name).read_bytes()
        for new in (edited(content, edits), *([replaced(content, replacements)] if name == "config.json" else [])):
            path.write_bytes(new)
            try:
                survives(lambda: fdrl_jax.load(folder))
            finally:
                path.write_bytes(content)

    change()


def test_classifiers(tmp_path):
    import jax

    from configs import classifier

    config = trained.normalise(classifier.get_config("digits"))
    (tmp_path / "config.json").write_text(json.dumps(config))
    params = trained.network(config).start(jax.random.key(0), trained.event_shape(config))
    trained.save(tmp_path, params, {})

    @fuzz(20)
    @given(st.sampled_from(["config.json", "classifier.npz"]), EDITS, REPLACEMENTS)
    def change(name, edits, replacements):
        path, content = tmp_path / name, (tmp_path / name).read_bytes()
        for new in (edited(content, edits), *([replaced(content, replacements)] if name == "config.json" else [])):
            path.write_bytes(new)
            try:
                survives(lambda: classifiers.load_classifier(tmp_path))
            finally:
                path.write_bytes(content)

    change()
