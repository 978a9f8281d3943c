"""Data sets of TensorFlow Datasets, with a stand-in for that library.

Covers: `readers.tfds`.
"""

import os
import sys
import types

import numpy as np
import pytest
from reader_checks import pictures, refusal

from fdrl_jax.data import readers
from fdrl_jax.data.transform import ImageError


def fake_tfds(monkeypatch, folder, images, features=("image", "label")):
    """Install a stand-in for tensorflow_datasets: one data set, and only the functions that the reader uses."""

    class Builder:
        data_dir = str(folder)
        info = types.SimpleNamespace(features=dict.fromkeys(features))

        def as_data_source(self, split):
            if split != "train":
                raise ValueError(f"Unknown split {split!r}.\nShould be one of ['train'].")
            return [{"image": image, "label": 0} for image in images]

    def builder(name):
        if name != "mnist":
            raise LookupError(f"Dataset {name} not found.\nAvailable datasets:\n- mnist")
        return Builder()

    module = types.ModuleType("tensorflow_datasets")
    module.builder = builder
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)


def test_tfds(monkeypatch, tmp_path):
    (tmp_path / "mnist-train.array_record-00000-of-00001").write_bytes(b"x")
    fake_tfds(monkeypatch, tmp_path, [*pictures(), np.zeros((4, 4, 1), np.float32)])
    reader = readers.tfds("mnist")
    assert len(reader) == 13
    assert reader.labels is None
    assert reader.name(3) == "mnist train example 3"
    np.testing.assert_array_equal([reader.read(i) for i in range(12)], pictures())
    with pytest.raises(ImageError, match="has float32 pixels: only uint8"):
        reader.read(12)
    before = reader.signature()
    assert readers.tfds("mnist").signature() == before
    os.utime(tmp_path / "mnist-train.array_record-00000-of-00001", ns=(0, 0))
    assert readers.tfds("mnist").signature() != before


def test_tfds_that_cannot_be_read(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    refusal(lambda: readers.tfds("mnist"), "config.data.name = 'tfds' needs", "pip install 'fdrl_jax[tfds]'")
    fake_tfds(monkeypatch, tmp_path, pictures())
    refusal(
        lambda: readers.tfds("minst"),
        "'minst'",
        "(Dataset minst not found.)",
        "tfds build minst --file_format=array_record",
    )
    refusal(lambda: readers.tfds("mnist", "valid"), "split 'valid'", "(Unknown split 'valid'.)")
    fake_tfds(monkeypatch, tmp_path, [], features=("text", "label"))
    refusal(lambda: readers.tfds("mnist"), "has text, label and no 'image'")
