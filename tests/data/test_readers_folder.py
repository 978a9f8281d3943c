"""Folders of images: which files are read and in which order, links, and names that cannot be printed.

Covers: `readers.folder`.
"""

import os
import random

import numpy as np
import pytest
import real_files
from reader_checks import pictures, read_all, refusal

from fdrl_jax.data import readers
from fdrl_jax.data.readers.decoding import decode


def test_folder_reads_its_images_in_order_and_skips_other_files(tmp_path):
    images = pictures()
    names = [
        "b.PNG",
        "a/z.jpeg",
        "a/B.jpg",
        "a/deep/er/c.WebP",
        "a b.png",  # A space sorts before the slash, so this comes before the files in a/.
        "\u00fcnic\u00f6de \u732b.png",
        "Z.jpg",
    ]
    kinds = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}
    files = {
        name: real_files.encoded(image, kinds[name.rsplit(".")[-1].lower()])
        for name, image in zip(names, images, strict=False)
    }
    ignored = {
        "notes.txt": b"",
        "a/x.gif": b"",
        ".hidden.png": b"",
        "__MACOSX/._b.png": b"",
        ".git/x.png": b"",
        "png": b"",
    }
    reader = readers.folder(real_files.write_files(tmp_path, files | ignored))
    assert [reader.name(i) for i in range(len(reader))] == [f"{tmp_path}/{name}" for name in sorted(names)]
    for name, image in zip(sorted(names), read_all(reader), strict=True):
        np.testing.assert_array_equal(image, np.asarray(decode(files[name])))
    assert reader.labels is None


def test_folder_does_not_depend_on_the_order_of_creation(tmp_path):
    data = real_files.encoded(pictures()[0], "PNG")
    names = [f"{i // 10}/{i}.png" for i in range(100)]
    shuffled = random.Random(0).sample(names, 100)
    for folder, order in (("one", names), ("other", shuffled)):
        real_files.write_files(tmp_path / folder, dict.fromkeys(order, data))
        for name in names:
            os.utime(tmp_path / folder / name, ns=(0, 0))
    one, other = readers.folder(tmp_path / "one"), readers.folder(tmp_path / "other")
    assert one.signature() == other.signature()
    assert [one.name(i)[-6:] for i in range(100)] == [other.name(i)[-6:] for i in range(100)]


def test_folder_signature_depends_on_names_and_sizes(tmp_path):
    data = real_files.encoded(pictures()[0], "PNG")

    def signature():
        for path in tmp_path.rglob("*.png"):
            os.utime(path, ns=(0, 0))
        return readers.folder(tmp_path).signature()

    real_files.write_files(tmp_path, {"a.png": data, "b.png": data})
    signatures = [signature()]
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    signatures.append(signature())
    (tmp_path / "c.png").write_bytes(data + b"\0")
    signatures.append(signature())
    (tmp_path / "d.png").write_bytes(data)
    signatures.append(signature())
    assert len(set(signatures)) == 4
    (tmp_path / "notes.txt").touch()
    assert signature() == signatures[-1]


def test_folder_follows_links_within_it_but_reads_no_folder_twice(tmp_path):
    data = real_files.encoded(pictures()[0], "PNG")
    root = real_files.write_files(tmp_path / "root", {"a/near.png": data, "b/far.png": data})
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to(".")
    (root / "c again").symlink_to(root / "b")
    (root / "file.png").symlink_to(root / "b" / "far.png")
    (tmp_path / "start").symlink_to(root)
    for start in (root, tmp_path / "start"):
        reader = readers.folder(start)
        assert [reader.name(i)[len(str(start)) + 1 :] for i in range(len(reader))] == [
            "a/near.png", "b/far.png", "file.png",
        ]  # fmt: skip


@pytest.mark.parametrize("what", ["file", "folder", "up", "pipe"])
def test_links_out_of_a_folder_are_refused(what, tmp_path):
    data = real_files.encoded(pictures()[0], "PNG")
    real_files.write_files(tmp_path / "elsewhere", {"far.png": data})
    root = real_files.write_files(tmp_path / "root", {"near.png": data})
    match what:
        case "file":
            (root / "x.png").symlink_to("../elsewhere/far.png")
        case "folder":
            (root / "x").symlink_to(tmp_path / "elsewhere")
        case "up":
            (root / "x").symlink_to("..")
        case "pipe":
            os.mkfifo(root / "x.png")
    words = "is no regular file: remove it" if what == "pipe" else "is a link to"
    refusal(lambda: readers.folder(root), root / "x", words)


def test_folders_without_images(tmp_path):
    (tmp_path / "x.bmp").touch()
    refusal(lambda: readers.folder(tmp_path), tmp_path, "has no image in it: looked for .png, .jpg, .jpeg, .webp")
    refusal(lambda: readers.folder(tmp_path / "x.bmp"), "x.bmp is a file")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    refusal(lambda: readers.folder(tmp_path), f"{tmp_path}/gone.png cannot be read (No such file")


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root, as in a container, may read any folder.
    refusal(lambda: readers.folder(tmp_path), f"{tmp_path}/closed cannot be read (Permission denied)")


def test_names_that_cannot_be_printed(tmp_path):
    data = real_files.encoded(pictures()[0], "PNG")
    (tmp_path / "line\nbreak.png").write_bytes(data)
    with open(os.fsencode(tmp_path) + b"/not utf-8 \xff.png", "wb") as file:
        file.write(data)
    reader = readers.folder(tmp_path)
    names = [reader.name(i) for i in range(2)]
    assert [name.encode().decode() for name in names] == [
        f"{tmp_path}/line\\nbreak.png",
        f"{tmp_path}/not utf-8 \\udcff.png",
    ]
    np.testing.assert_array_equal(read_all(reader), [pictures()[0]] * 2)
    assert reader.signature()
