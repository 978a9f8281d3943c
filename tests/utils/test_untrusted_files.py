"""The limits on untrusted files: nesting, sizes, headers, names and links.

Two tests show the limits at work in a manifest and in the decoder of images.
"""

import gzip
import io
import os
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from fdrl_jax.data.readers.decoding import decode
from fdrl_jax.data.transform import MAX_PIXELS, ImageError
from fdrl_jax.experiment.manifest import fault
from fdrl_jax.utils import untrusted_files


def test_json_is_read_to_a_maximum_depth():
    deep = untrusted_files.MAX_JSON_DEPTH - 1
    assert untrusted_files.parse_json("[" * deep + "]" * deep) is not None
    assert untrusted_files.parse_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    for depth in (untrusted_files.MAX_JSON_DEPTH + 1, 900, 100_000):
        with pytest.raises(ValueError, match="nested"):
            untrusted_files.parse_json("[" * depth + "]" * depth)


def test_only_regular_files_up_to_a_maximum_size_are_read(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    assert untrusted_files.read_bytes(tmp_path / "x", 5) == b"12345"
    with pytest.raises(ValueError, match="5 bytes, more than 4"):
        untrusted_files.read_bytes(tmp_path / "x", 4)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no regular file"):
        untrusted_files.read_bytes(tmp_path / "pipe", 5)
    with pytest.raises(ValueError, match="no regular file"), untrusted_files.open_npz(tmp_path / "pipe"):
        pass
    with (tmp_path / "sparse.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="more than"):
        untrusted_files.load_json(tmp_path / "sparse.json")


def test_gzip_unpacks_to_a_limit():
    packed = gzip.compress(bytes(1000))
    assert untrusted_files.gunzip(packed, 1000) == bytes(1000)
    assert untrusted_files.gunzip(b"plain", 1) == b"plain"
    with pytest.raises(ValueError, match="more than 999 bytes"):
        untrusted_files.gunzip(packed, 999)
    with pytest.raises(ValueError, match="CRC"):
        untrusted_files.gunzip(packed[:-8] + bytes(8), 1000)


def header(shape, dtype="|u1"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize("shape", [(2**50,), (2**20, 2**20, 2**20), (-1,), (3, 2), (0,)])
def test_a_header_that_does_not_fit_the_size_is_refused(shape, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", header(shape) + bytes(5))
    with pytest.raises(ValueError, match="does not have the size"), untrusted_files.open_npz(tmp_path / "x.npz"):
        pass


def test_arrays_are_read_and_objects_are_not(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.arange(3), b=np.array([{}], object))
    with untrusted_files.open_npz(tmp_path / "x.npz") as arrays:
        assert arrays["a"].tolist() == [0, 1, 2]
        with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
            arrays["b"]


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("a/b.png", False), ("a..b", False), ("..a/b", False), ("./a", False), ("../a", True), ("a/../b", True),
        ("/a", True), ("..\\a", True), ("C:\\a", True), ("\\a", True), ("a\0b", True), ("..", True),
    ],
)  # fmt: skip
def test_names_that_lead_out_of_their_folder(name, bad):
    assert untrusted_files.escapes(name) is bad


def test_links_that_lead_out(tmp_path):
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root2").mkdir()
    (tmp_path / "start").symlink_to("root")
    for name, target, leads in (("in", "a", False), ("up", "..", True), ("beside", "../root2", True)):
        (tmp_path / "root" / name).symlink_to(target)
        for root in ("root", "start"):
            assert (untrusted_files.leads_out(tmp_path / root, tmp_path / root / name) is not None) is leads


def test_a_manifest_reads_nothing_outside_its_folder(tmp_path):
    (tmp_path / "step").mkdir()
    (tmp_path / "secret").write_text("x")
    for name in ("../secret", str(tmp_path / "secret"), "/dev/zero"):
        assert "is outside it" in fault(tmp_path / "step", {name: "0"})
    os.mkfifo(tmp_path / "step" / "pipe")
    (tmp_path / "step" / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        assert "no regular file" in fault(tmp_path / "step", {name: "0"})


def test_an_image_is_measured_before_memory_is_allocated(monkeypatch):
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    data = bytearray(buffer.getvalue())
    assert data[12:16] == b"VP8X"
    assert decode(bytes(data)).size == (4, 4)
    data[24:30] = struct.pack("<I", 16383)[:3] * 2
    monkeypatch.setattr("PIL.WebPImagePlugin.WebPImageFile.__init__", None)  # The decoder must not be called at all.
    with pytest.raises(ImageError, match=f"is 16384x16384 .* more than {MAX_PIXELS} pixels"):
        decode(bytes(data))
