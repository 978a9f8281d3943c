"""CelebA as a folder and as an archive, in the layouts of its distributors, and damaged or incomplete.

Covers: `readers.celeba`.
"""

import shutil
import zipfile

import numpy as np
import pytest
import real_files
from reader_checks import KINDS, pictures, read_all, refusal

from fdrl_jax.data import readers
from fdrl_jax.data.readers.decoding import decode
from fdrl_jax.data.transform import ImageError


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_celeba_splits(kind, zipped, tmp_path):
    images, splits = pictures(kind, 9, 218, 178), [0, 1, 2, 0, 0, 1, 2, 2, 0]
    path = real_files.write_celeba(tmp_path, images, splits, zipped)
    files, _ = real_files.celeba_files(images, splits)
    signatures = set()
    for number, split in enumerate(("train", "valid", "test")):
        reader = readers.celeba(path, split)
        wanted = [name for name, s in zip(files, splits, strict=True) if s == number]
        assert [reader.name(i)[-10:] for i in range(len(reader))] == wanted
        place = "img_align_celeba.zip: " if zipped else "img_align_celeba/"
        assert reader.name(0) == f"{path}/{place}{wanted[0]}"
        for name, image in zip(wanted, read_all(reader), strict=True):
            assert image.shape == (218, 178, 3)
            np.testing.assert_array_equal(image, np.asarray(decode(files[name])))
            assert np.abs(image.astype(int) - images[int(name[:6]) - 1]).mean() < 12  # The loss of JPEG.
        assert reader.labels is None
        signatures.add(reader.signature())
    assert len(signatures) == 3


def test_celeba_in_the_layouts_of_its_distributors(tmp_path):
    images = pictures("computed", 3, 218, 178)
    plain = real_files.write_celeba(tmp_path / "plain", images, [0, 0, 2])
    expected = read_all(readers.celeba(plain))
    kaggle = tmp_path / "kaggle"
    shutil.copytree(plain / "img_align_celeba", kaggle / "img_align_celeba" / "img_align_celeba")
    table = (plain / "list_eval_partition.txt").read_text().replace(" ", ",")
    (kaggle / "list_eval_partition.csv").write_text("image_id,partition\n" + table)
    download = tmp_path / "download"
    real_files.write_celeba(download / "Img", images, [0, 0, 2], zipped=True)
    (download / "Eval").mkdir()
    (download / "Img" / "list_eval_partition.txt").rename(download / "Eval" / "list_eval_partition.txt")
    torchvision = tmp_path / "torchvision"
    shutil.copytree(plain, torchvision / "celeba")
    for place in (kaggle, download, torchvision):
        np.testing.assert_array_equal(read_all(readers.celeba(place)), expected)


@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_celeba_with_something_missing(zipped, tmp_path):
    path = real_files.write_celeba(tmp_path, pictures("computed", 3, 20, 20), [0, 0, 1], zipped)
    partition = path / "list_eval_partition.txt"
    text = partition.read_text()
    partition.write_text(text + "000004.jpg 0\n000005.jpg 0\n000006.jpg 2\n")
    refusal(lambda: readers.celeba(path), "has no 000004.jpg, which list_eval_partition.txt lists (2 of its 4 images")
    assert len(readers.celeba(path, "valid")) == 1
    for line in ("000004.jpg", "000004.jpg 3", "000004.jpg train", "a b c"):
        partition.write_text(text + line)
        refusal(lambda: readers.celeba(path), f"{partition} line 4 is '{line}'", "https://")
    partition.write_text(text)
    refusal(lambda: readers.celeba(path, "test"), partition, "lists no image of split 'test' (2)")
    partition.write_bytes(b"\xff\xfe\x00")
    refusal(lambda: readers.celeba(path), partition, "cannot be read")
    partition.unlink()
    refusal(lambda: readers.celeba(path), f"{path} has no list_eval_partition.txt", "https://")
    refusal(
        lambda: readers.celeba(tmp_path / "img_align_celeba"), "img_align_celeba", "config.data.path must be a folder"
    )


def test_damaged_celeba(tmp_path):
    path = real_files.write_celeba(tmp_path, pictures("computed", 3, 64, 64), [0, 0, 0], zipped=True)
    archive = path / "img_align_celeba.zip"
    whole = archive.read_bytes()
    for damaged in (b"", b"<html>", whole[:-100]):
        archive.write_bytes(damaged)
        refusal(lambda: readers.celeba(path), archive, "is not a zip archive, or damaged")
    archive.write_bytes(whole)
    with zipfile.ZipFile(archive) as opened:
        info = opened.getinfo("img_align_celeba/000002.jpg")
    start = info.header_offset + 100
    archive.write_bytes(whole[:start] + bytes(200) + whole[start + 200 :])
    reader = readers.celeba(path)
    with pytest.raises(ImageError, match="cannot be read"):
        reader.read(1)
    assert reader.read(0).size == reader.read(2).size == (64, 64)
    folder = real_files.write_celeba(tmp_path / "folder", pictures("computed", 2, 64, 64), [0, 0])
    reader = readers.celeba(folder)
    (folder / "img_align_celeba" / "000002.jpg").unlink()
    with pytest.raises(ImageError, match=r"cannot be read \(.*No such file"):
        reader.read(1)
