"""Synthetic images, and the data pipeline that reads them.

Covers: `speed.image_files`, `speed.data_pipeline`.
"""

import numpy as np

from benchmarks.common import cases
from benchmarks.speed import image_files, timed_calls


def test_the_data_pipeline_is_timed_for_images_and_for_points():
    for name, images in (("toy", None), ("digits", np.zeros((16, 8, 8, 1), np.uint8))):
        case = cases.case(name, cases.SMOKE[name], small=True)
        assert 0 < timed_calls.batch_seconds(case, images, duration=0.01) < 10


def test_synthetic_images_do_not_depend_on_how_many_channels_are_kept(tmp_path):
    colour, grey = tmp_path / "colour.npy", tmp_path / "grey.npy"
    image_files.write_synthetic(colour, 70, 8)
    image_files.write_synthetic(grey, 70, 8, channels=1)
    assert (np.load(colour)[..., :1] == np.load(grey)).all()
    assert np.load(colour).std() > 20
