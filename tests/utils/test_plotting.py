"""Pictures: the geometry of grids, colours, and the positions of points."""

import numpy as np

from fdrl_jax.utils import plotting


def test_grid_places_each_image():
    images = np.stack([np.full((8, 8, 1), value, np.float32) for value in (-1.0, 0.0, 1.0)])
    grid = plotting.image_grid(images, columns=2)
    # An image has 40 pixels (8 enlarged 5 times) and a gap 2; there are two columns and two rows.
    assert grid.shape == (86, 86, 3)
    assert (grid[2:42, 2:42] == 0).all()
    assert (grid[2:42, 44:84] == 128).all()  # 127.5 is rounded to even.
    assert (grid[44:84, 2:42] == 255).all()
    assert (grid[:2] == 255).all()


def test_grid_keeps_colours_and_large_images_as_they_are():
    images = np.zeros((1, 64, 64, 3), np.float32)
    images[..., 0] = 1
    grid = plotting.image_grid(images)
    assert grid.shape == (66, 66, 3)
    assert (grid[1:-1, 1:-1] == [255, 128, 128]).all()


def test_scatter_shows_each_cloud_in_its_place():
    left, right = np.full((50, 2), [-1.0, 0.0]), np.full((50, 2), [1.0, 0.0])
    picture = plotting.scatter({"a": left, "b": right}, "title").astype(int)
    height, width = picture.shape[:2]
    rows = slice(height // 4, 3 * height // 4)  # The title and the legend are outside these rows.
    # matplotlib's first colour and its second.
    blue = (picture[..., 2] - picture[..., 0] > 60)[rows].nonzero()[1]
    orange = (picture[..., 0] - picture[..., 2] > 60)[rows].nonzero()[1]
    assert len(blue)
    assert len(orange)
    assert blue.max() < width / 2 < orange.min()


def test_outliers_and_non_finite_points_do_not_break_a_scatter():
    points = np.random.default_rng(0).standard_normal((1000, 2))
    points[0], points[1] = 1e9, np.nan
    picture = plotting.scatter({"x": points})
    assert ((picture < 200).any(axis=-1)).mean() > 0.01  # The other 998 still cover more than a dot.


def test_flow_of_images_has_a_row_per_sample():
    states = np.zeros((4, 2, 8, 8, 1), np.float32)
    states[1] = 1
    picture = plotting.flow_picture(np.arange(4), states)
    assert picture.shape == (86, 170, 3)
    assert (picture[2:84, 44:84] == 255).all()  # The second column shows the second time of both samples.


def test_flow_of_points_has_a_panel_per_time():
    states = np.random.default_rng(0).standard_normal((3, 50, 2))
    one = plotting.flow_picture(np.array([0]), states[:1])
    three = plotting.flow_picture(np.array([0, 5, 9]), states)
    assert three.shape == (one.shape[0], 3 * one.shape[1], 3)


def test_panels_without_a_cloud_are_empty():
    cloud = {"x": np.random.default_rng(0).standard_normal((50, 2))}
    picture = plotting.scatter_panels({str(i): cloud for i in range(3)}, columns=2, legend=False)
    height, width = picture.shape[:2]
    assert (picture[height // 2 + 30 :, width // 2 + 20 :] == 255).all()  # The fourth panel, in two rows of two.
    assert (picture[height // 2 + 30 :, : width // 2] < 255).any()


def test_stack_pads_to_the_widest():
    top, bottom = np.zeros((2, 3, 3), np.uint8), np.zeros((1, 5, 3), np.uint8)
    stacked = plotting.stack(top, bottom)
    assert stacked.shape == (3, 5, 3)
    assert (stacked[:2, 3:] == 255).all()
