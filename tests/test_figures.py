"""The paper's figures of one's own run: numbers against other ways to compute them, pictures against their inputs."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shrink
from ml_collections import ConfigDict
from PIL import Image
from scipy.spatial.distance import cdist

import fdrl_jax
import main
from configs import emoji_translation64, fashion_mnist
from fdrl_jax import builders, evaluation, figures, interpolation, pictures, priors, sampling, steps
from fdrl_jax.features import Features, pixels
from fdrl_jax.figures import distances, flow_length, layout, naming, plane
from fdrl_jax.pixels import to_float, to_uint8
from fdrl_jax.types import InputError

GENERATOR = np.random.default_rng(0)
PICTURE = GENERATOR.integers(0, 256, (30, 40, 3), dtype=np.uint8)


def run(*argv):
    return main.run(["main.py", "--mode=figures", *map(str, argv)])


def train(config, folder):
    if config.model.name == "resnet":  # A convolution takes longer to compile than all the rest, and shows no more.
        config.model = ConfigDict({"name": "mlp", "width": (8,), "ratio_init": 1.0})
    shrink.trained(config, folder)
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return train(shrink.tiny_digits(), tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    return train(shrink.tiny_points(), tmp_path_factory.mktemp("points"))


@pytest.fixture(scope="module")
def translation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("translation")
    return train(shrink.shrink(emoji_translation64.get_config(), folder=folder), folder / "run")


@pytest.fixture(scope="module")
def model(digits):
    return fdrl_jax.load(digits)


def contains(picture, part):
    """Whether `part` is somewhere in `picture`, pixel for pixel."""
    windows = np.lib.stride_tricks.sliding_window_view(picture[..., 0], part.shape[:2])
    places = np.argwhere((windows[..., :6, :6] == part[:6, :6, 0]).all(axis=(2, 3)))
    height, width = part.shape[:2]
    return any((picture[y : y + height, x : x + width] == part).all() for y, x in places)


# --- states at several lengths ---


@pytest.mark.parametrize("batch_size", [None, 3])
def test_states_at_are_the_samples_of_each_length(model, batch_size):
    found = dict(sampling.states_at(model, 4, 7, [0, 2, 5, 9], batch_size, progress=False))
    assert list(found) == [0, 2, 5, 9]
    for length, states in found.items():
        expected = sampling.sample(model, 4, 7, num_steps=length, progress=False)
        np.testing.assert_allclose(states, expected, atol=2e-5)
    assert np.abs(found[9] - found[2]).max() > 1e-3


def test_states_at_may_be_changed_by_their_receiver(points):
    model = fdrl_jax.load(points)
    for _, states in sampling.states_at(model, 0, 4, [1, 2], progress=False):
        states[:] = 0.0 if _ == 1 else states
    np.testing.assert_allclose(states, sampling.sample(model, 0, 4, num_steps=2, progress=False), atol=1e-5)


@pytest.mark.parametrize("lengths", [[], [3, 2], [1, 1], [-1, 2]])
def test_states_at_refuses_lengths_that_do_not_increase(model, lengths):
    with pytest.raises(InputError, match="lengths"):
        next(sampling.states_at(model, 0, 2, lengths, progress=False))


# --- Fig. 5 ---


def image_sets(size=8):
    generator = np.random.default_rng(2)
    data = generator.integers(0, 256, (60, size, size, 1), dtype=np.uint8)
    return data, to_float(data[:40]) * 0.6 + 0.1 * generator.standard_normal((40, size, size, 1)).astype(np.float32)


def test_precision_and_recall_are_those_of_evaluation():
    data, samples = image_sets()
    metrics = list(figures.image_metrics(data, len(samples)).values())
    chosen = np.sort(np.random.default_rng(0).permutation(60)[:40])
    expected = evaluation.precision_recall(data[chosen], to_uint8(samples), k=3)
    assert metrics[0](samples)[0] == pytest.approx(expected.precision)
    assert metrics[1](samples)[0] == pytest.approx(expected.recall)
    assert expected.precision > 0
    assert 0 < expected.recall < 1


@pytest.mark.parametrize("side", [4, 32])
def test_frechet_distance_is_that_of_reduced_images(side, monkeypatch):
    monkeypatch.setattr(flow_length, "_SIDE", side)
    data, samples = image_sets()
    metric = list(figures.image_metrics(data, len(samples)).values())[2]
    a, b = (x.astype(np.float64) for x in (data, to_uint8(samples)))
    if side == 4:
        a, b = (x.reshape(len(x), 4, 2, 4, 2).mean(axis=(2, 4)) for x in (a, b))
    sets = [x.reshape(len(x), -1) for x in (a, b)]
    moments = [m for x in sets for m in (x.mean(axis=0), np.cov(x, rowvar=False))]
    value, low, high = metric(samples)
    assert value == pytest.approx(evaluation.frechet_distance(*moments), rel=1e-6)
    assert low < value < high


def test_too_few_samples_for_neighbours_are_refused():
    metric = figures.image_metrics(image_sets()[0], 3)["k-NN precision (higher is better)"]
    with pytest.raises(InputError, match="needs more than 3 examples: 3 and 3"):
        metric(np.zeros((3, 8, 8, 1), np.float32))


def test_a_curve_is_the_metric_at_each_length(model):
    curve = figures.flow_length_curve(
        model, 1, 6, lambda x: (x.mean(), x.min(), x.max()), [1, 4], batch_size=4, progress=False
    )
    assert curve.lengths.tolist() == [1, 4]
    for i, length in enumerate(curve.lengths):
        x = sampling.sample(model, 1, 6, num_steps=int(length), progress=False)
        np.testing.assert_allclose([curve.value[i], curve.low[i], curve.high[i]], [x.mean(), x.min(), x.max()], 1e-4)


def test_a_flow_that_left_the_finite_numbers_is_not_measured(model):
    broken = dataclasses.replace(model, params=jax.tree.map(lambda x: x * jnp.nan, model.params))
    curve = figures.flow_length_curve(broken, 0, 2, lambda x: pytest.fail("measured"), [1], progress=False)
    assert np.isnan(curve.value).all()


def test_default_lengths_go_60_beyond_training_and_through_kappa(model):
    flow = model.experiment.config["flow"]
    assert (flow["num_steps"], flow["kappa"]) == (3, 2)
    lengths = figures.default_lengths(model)
    assert lengths[:4] == [3, 5, 8, 13]
    assert lengths[-1] == 63


# --- Fig. 9 ---


def test_spherical_is_the_arc():
    start, end = np.random.default_rng(3).standard_normal((2, 5, 100))
    start, end = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (start, end))
    path = interpolation.spherical(start, end, np.linspace(0, 1, 7))
    np.testing.assert_allclose(path[0], start, atol=1e-12)
    np.testing.assert_allclose(path[-1], end, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(path, axis=2), 1, atol=1e-12)
    angles = np.arccos((path[1:] * path[:-1]).sum(axis=2))
    np.testing.assert_allclose(angles, np.broadcast_to(angles[0], angles.shape), atol=1e-6)


def test_spherical_of_one_direction_is_a_straight_line():
    x = np.array([[1.0, 2.0], [0.0, 0.0]])
    path = interpolation.spherical(x, np.array([[2.0, 4.0], [1.0, 0.0]]), np.array([0.25]))
    np.testing.assert_allclose(path[0, 0], [1.25, 2.5])
    assert np.isfinite(path).all()


def test_interpolation_ends_do_not_depend_on_what_is_between(model):
    short, long = (fdrl_jax.interpolate(model, 2, 3, n) for n in (2, 5))
    assert (long.shape, long.dtype) == ((3, 5, 8, 8, 1), np.float32)
    np.testing.assert_allclose(short[:, 0], long[:, 0], atol=1e-6)
    np.testing.assert_allclose(short[:, 1], long[:, 4], atol=1e-6)
    middle = np.abs(long[:, 1:] - long[:, :-1]).max(axis=(2, 3, 4))
    assert (middle > 1e-3).all()
    assert np.abs(long).max() <= 1


def test_one_noise_for_a_row_and_another_for_the_next(model, monkeypatch):
    still = lambda start, end, t: np.zeros((len(t), *start.shape), np.float32)  # noqa: E731
    monkeypatch.setattr(interpolation, "spherical", still)
    images = fdrl_jax.interpolate(model, 0, 2, 3)
    np.testing.assert_array_equal(images[:, 0], images[:, 2])
    assert np.abs(images[0] - images[1]).max() > 1e-3
    # Row i has the noise of sample i.
    start = jnp.array(model.prior.from_normal(np.zeros((2, 64), np.float32)))
    zero = jnp.asarray(0)
    expected = steps.advance(model.experiment.recipe, model.params, jax.random.key(0), start, zero, zero, 5)
    np.testing.assert_allclose(images[:, 1], np.clip(expected, -1, 1), atol=1e-6)


@pytest.mark.parametrize("prior", [priors.Uniform((8, 8, 1)), priors.Normal((8, 8, 1), 0.3)], ids=repr)
def test_other_priors_are_interpolated_too(model, prior):
    images = fdrl_jax.interpolate(dataclasses.replace(model, prior=prior), 0, 4, 3, num_steps=0)
    assert images.shape == (4, 3, 8, 8, 1)
    # Draws of the same prior all along: a straight line would halve the variance in the middle.
    spread = images.std(axis=(0, 2, 3, 4))
    np.testing.assert_allclose(spread, spread[0], rtol=0.15)


def test_images_have_nothing_between_them(translation):
    with pytest.raises(InputError, match="this run's is Empirical"):
        fdrl_jax.interpolate(fdrl_jax.load(translation), 0, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 3), "num_pairs = 0 must be an integer of at least 1"),
        ((0, 2, 1), "num_between = 1 must be an integer of at least 2"),
        ((0, 2, 3, -1), "num_steps = -1 must be"),
        ((-1, 2, 3), "key = -1 must be"),
        (("x", 2, 3), "key must be one PRNG key"),
    ],
)
def test_interpolation_needs_two_ends(model, arguments, message):
    with pytest.raises(InputError, match=message):
        fdrl_jax.interpolate(model, *arguments)


# --- Fig. 12 ---


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_nearest_is_a_search_through_all_pairs(block, monkeypatch):
    monkeypatch.setattr(distances, "_REFERENCES", block)
    monkeypatch.setattr(distances, "_QUERIES", 4)
    generator = np.random.default_rng(4)
    queries, references = (generator.integers(0, 256, (n, 3, 3, 1), dtype=np.uint8) for n in (10, 25))
    found = figures.nearest(queries, references, 1 if block == 1 else 5, pixels())
    exact = cdist(queries.reshape(10, -1).astype(float), references.reshape(25, -1).astype(float))
    order = np.argsort(exact, axis=1)[:, : found.indices.shape[1]]
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_allclose(found.distances, np.take_along_axis(exact, order, axis=1), rtol=1e-12)


def test_nearest_in_blocks_smaller_than_k(monkeypatch):
    monkeypatch.setattr(distances, "_REFERENCES", 2)
    x = np.arange(10.0)[:, None]
    found = figures.nearest(np.array([[0.0]]), x, 4, pixels())
    assert found.indices.tolist() == [[0, 1, 2, 3]]


def test_a_reference_itself_does_not_count(monkeypatch):
    monkeypatch.setattr(distances, "_REFERENCES", 4)
    x = np.array([[0.0], [1.0], [3.0], [7.0], [7.5]])
    found = figures.nearest(x, x, 1, pixels(), itself=np.arange(5))
    assert found.indices.ravel().tolist() == [1, 0, 1, 4, 3]
    assert found.distances.ravel().tolist() == [1, 1, 2, 0.5, 0.5]
    with pytest.raises(InputError, match="k = 5 nearest neighbours"):
        figures.nearest(x, x, 5, pixels(), itself=np.arange(5))


def test_nearest_is_in_the_space_it_is_given():
    sums = Features("sums", "the sum of an image's pixels", "sums-1", lambda x: x.reshape(len(x), -1).sum(1)[:, None])
    query = np.array([[[[9], [0]]]], np.uint8)
    references = np.array([[[[8], [0]]], [[[0], [9]]]], np.uint8)
    assert figures.nearest(query, references, 1, pixels()).indices.item() == 0
    assert figures.nearest(query, references, 1, sums).indices.item() == 1


def real_images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 1), dtype=np.uint8)


@pytest.mark.parametrize("with_held_out", [True, False])
def test_copies_are_found_out(with_held_out):
    training, held_out = real_images(300, 5), real_images(200, 6)
    fresh, copies = to_float(real_images(50, 7)), to_float(training[100:150]) + np.float32(0.01)
    found = figures.memorisation(
        np.concatenate([fresh, copies]), training, held_out if with_held_out else None, k=3, most=150
    )
    assert found.indices.shape == found.distances.shape == (100, 3)
    assert found.indices[50:, 0].tolist() == list(range(100, 150))
    assert found.reference.shape == (150,)
    assert found.leave_one_out is not with_held_out
    assert 0.5 <= found.share <= 0.56
    assert found.threshold == np.percentile(found.reference, 1)
    assert (found.distances[50:, 0] < found.threshold).all()
    np.testing.assert_array_equal(found.distances, np.sort(found.distances, axis=1))


def test_fresh_images_are_no_copies():
    training = real_images(500, 8)
    found = figures.memorisation(to_float(real_images(400, 9)), training, real_images(1000, 10), k=1)
    assert found.share < 0.04
    exact = cdist(real_images(1000, 10).reshape(1000, -1).astype(float), training.reshape(500, -1).astype(float))
    np.testing.assert_allclose(np.sort(found.reference), np.sort(exact.min(axis=1)))


def test_mirror_images_are_copies_for_a_model_trained_with_flips():
    training = real_images(100, 11)
    samples = to_float(training[:10, :, ::-1])
    assert figures.memorisation(samples, training, k=1).share < 0.5
    found = figures.memorisation(samples, training, k=1, mirrored=True)
    assert found.share == 1
    assert found.indices.ravel().tolist() == list(range(10))


def test_held_out_images_are_the_test_split(tmp_path):
    experiment = builders.build(shrink.shrink(fashion_mnist.get_config("cpu"), folder=tmp_path))
    own, other = builders.dataset(experiment, False).examples, builders.held_out(experiment, progress=False)
    np.testing.assert_array_equal(other, own[::-1])  # So the test files were written.
    for path in (tmp_path / "data").glob("t10k*"):
        path.unlink()
    assert builders.held_out(experiment, progress=False) is None


def test_held_out_images_are_another_part(tmp_path):
    config = shrink.shrink(fashion_mnist.get_config("cpu"), folder=tmp_path)
    config.data.part, config.data.batch_size = "2/3", 4
    experiment = builders.build(config)
    own, other = builders.dataset(experiment, False).examples, builders.held_out(experiment, progress=False)
    assert len(other) == len(own) == 8
    assert not {x.tobytes() for x in own} & {x.tobytes() for x in other}


# --- Table 1 ---

FID = dict(metric="frechet", features="inception", value=21.9134, interval=[21.7, 22.1], num_samples=50_000,
           step=100_000, ema=True, protocol="p", dataset="cifar10")  # fmt: skip


def own_rows(markdown):
    _, _, after = markdown.partition("| *Measured here* |")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in after.splitlines()[1:]]


def test_the_paper_s_rows_are_all_there():
    table = figures.table1([])
    assert "| FDRL-DDP (LSIF-χ²) | 22.28 | 17.77 | the paper's protocol |" in table
    assert "| ℓ-SWF | 59.70 | 38.30 | as the paper quotes it |" in table
    assert "| DDPM | 3.17 | - | as the paper quotes it |" in table
    assert table.startswith("| Method | CIFAR-10 | CelebA | FID by |\n| --- | --- | --- | --- |\n")
    assert len(table.splitlines()) == 2 + 18 + 5
    assert own_rows(table) == []


def test_only_fids_are_added_each_by_its_protocol():
    rows = [
        FID,
        {**FID, "features": "inception-torchvision", "value": 22.4, "interval": None, "dataset": "celeba64"},
        {**FID, "features": "pixels"},
        {**FID, "metric": "precision", "value": 0.5},
        {**FID, "dataset": "shoes", "ema": False},
    ]
    table = figures.table1(rows, "mine")
    assert table.startswith("| Method | CIFAR-10 | CelebA | shoes | FID by |\n")
    what = "mine, step 100,000, 50,000 samples"
    assert own_rows(table) == [
        [what, "21.91 [21.70, 22.10]", "-", "-", "standard FID"],
        [what, "-", "22.40", "-", "the paper's protocol"],
        [f"{what}, online parameters", "-", "-", "21.91 [21.70, 22.10]", "standard FID"],
    ]


def test_a_result_measured_again_replaces_the_first():
    assert own_rows(figures.table1([FID, {**FID, "value": 5.0}, {**FID, "step": 7}]))[0][1].startswith("5.00")
    assert len(own_rows(figures.table1([FID, {**FID, "value": 5.0}, {**FID, "step": 7}]))) == 2


@pytest.mark.parametrize("broken", [{"value": "many"}, {"interval": [1]}, {"step": None}])
def test_an_incomplete_fid_is_refused(broken):
    with pytest.raises(InputError, match=r"a FID in evaluation\.jsonl is incomplete"):
        figures.table1([{**FID, **broken}])


def test_a_damaged_line_is_named(tmp_path, capsys):
    assert figures.read_evaluation(tmp_path) == []
    (tmp_path / "evaluation.jsonl").write_text(json.dumps(FID) + "\n\n[1]\n" + "[" * 100_000 + "\n" + json.dumps(FID))
    assert figures.read_evaluation(tmp_path) == [FID, FID]
    assert [f"line {n}, is no JSON object: left out" in capsys.readouterr().out for n in (3,)] == [True]


def test_the_table_s_picture_grows_with_the_rows():
    empty, one = figures.table1_picture([]), figures.table1_picture([FID])
    assert one.shape[0] > empty.shape[0]
    shaded = (one == [255, 235, 220]).all(axis=-1) | (abs(one.astype(int) - [254, 235, 219]).max(axis=-1) <= 2)
    assert shaded.sum() > 5000


# --- animations ---


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_an_animation_loops_and_holds_its_last_frame(suffix, tmp_path):
    frames = [np.full((20, 30, 3), value, np.uint8) for value in (0, 100, 200)]
    path = tmp_path / f"a.{suffix}"
    figures.write_animation(path, frames, seconds=0.6, hold=1.5)
    durations = []
    with Image.open(path) as image:
        assert (image.n_frames, image.info["loop"], image.size) == (3, 0, (30, 20))
        for i, value in enumerate((0, 100, 200)):
            image.seek(i)
            image.load()
            durations.append(image.info["duration"])
            assert np.abs(np.asarray(image.convert("RGB"), int) - value).max() <= 2
    assert durations == [200, 200, 1700]


def test_an_animation_keeps_an_old_file_until_it_is_whole(tmp_path):
    path = tmp_path / "a.gif"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="frames of one size"):
        figures.write_animation(path, [PICTURE, PICTURE[:-1]])
    with pytest.raises(InputError, match=r"must end in \.gif or \.webp"):
        figures.write_animation(tmp_path / "a.mp4", [PICTURE])
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("num_steps", [0, 1, 58, 59, 60, 400])
def test_no_more_frames_than_most(num_steps):
    every = figures.frame_interval(num_steps)
    assert len({*range(0, num_steps, every), num_steps}) <= 60
    assert every == 1 or len({*range(0, num_steps, every), num_steps}) > 30


# --- pages ---


@pytest.mark.parametrize("size", [(30, 40), (30, 900)])
def test_a_page_holds_the_picture_and_words_inside_its_edges(size):
    picture = np.resize(PICTURE, (*size, 3))
    page = layout.framed(picture, "A title " * 30, "And a caption. " * 60)
    assert contains(page, picture)
    assert (page[:, :8] == 255).all()
    assert (page[:, -8:] == 255).all()
    assert page.shape[0] > layout.framed(picture, "A title", "And a caption.").shape[0] + 50


def test_labels_are_over_their_columns():
    strip = layout.column_labels(400, ["", "x", "", "y"])
    dark = (strip < 128).any(axis=(0, 2)).nonzero()[0]
    assert len(dark)
    assert all(abs(x - 150) < 8 or abs(x - 350) < 8 for x in dark)
    assert {x > 200 for x in dark.tolist()} == {True, False}


def test_uncurated_is_all_samples_in_their_order(model):
    samples = sampling.sample(model, 0, 7, progress=False)
    page = figures.uncurated(model, samples, 0)
    assert contains(page, layout.grid(samples, 3))
    assert not contains(page, layout.grid(samples[::-1], 3))


def test_each_sample_is_in_the_place_of_its_draw(model):
    draws, samples = (sampling.sample(model, 0, 4, num_steps=n, progress=False) for n in (0, 5))
    page = figures.prior_and_samples(model, draws, samples, 0)
    left, right = page[:, : page.shape[1] // 2], page[:, page.shape[1] // 2 :]
    assert contains(left, layout.grid(draws, 2, 400))
    assert contains(right, layout.grid(samples, 2, 400))


def test_neighbours_are_right_of_the_red_line(model):
    training, samples = real_images(30, 12), to_float(real_images(3, 13))
    found = figures.memorisation(samples, training, k=4)
    page = figures.neighbours_picture(model, samples, training, found, 0, rows=2)
    red = (page == [220, 0, 0]).all(axis=-1).nonzero()[1]
    near = to_float(training[found.indices[:2].ravel()])
    scale = (red.max() - red.min() + 1) // 2
    left, right = (
        pictures.image_grid(x, columns).repeat(scale, 0).repeat(scale, 1)
        for x, columns in ((samples[:2], 1), (near, 4))
    )
    assert contains(page[:, : red.min()], left)
    assert contains(page[:, red.max() + 1 :], right)


# --- the plane ---


def test_particles_outside_the_axes_are_counted():
    points = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, -3.0], [np.nan, 0.0]])
    assert plane._outside(points, ((-1, 1), (-1, 1))) == 0.75


def test_limits_are_of_most_points_and_square():
    cloud = np.random.default_rng(0).uniform(0, 1, (1000, 2)) * [4, 1]
    cloud[0] = 1e6
    (left, right), (bottom, top) = plane.frame_limits(cloud)
    assert -1 < left < 0 < 4 < right < 5
    assert right - left == pytest.approx(top - bottom)


@pytest.mark.parametrize("loss", ["lsif", "lr"])
def test_the_ratio_s_map_has_the_sign_of_its_logarithm(points, loss):
    model = fdrl_jax.load(points)
    cloud = np.random.default_rng(0).uniform(-1, 1, (500, 2)).astype(np.float32)
    experiment = builders.build({**model.experiment.config, "loss": loss, "divergence": "chi2"})

    class Left(sampling.Model):
        """r is e^2 on the left, e^-2 on the right; with LSIF below 0 at the bottom."""

        def ratio_fn(self, x):
            ratio = jnp.exp(-2 * jnp.sign(x[:, 0]))
            return jnp.where(x[:, 1] < -0.5, -1.0, ratio) if loss == "lsif" else ratio

    page = plane.ratio_map(Left(experiment, model.params, model.prior, 4), cloud, cloud, cloud, 0).astype(int)
    red = (page[..., 0] - page[..., 2] > 60).nonzero()
    blue = (page[..., 2] - page[..., 0] > 60).nonzero()
    colour_bar = 0.88 * page.shape[1]
    for half in (0, page.shape[1] * 0.44):
        inside = lambda x, half=half: x[(x > half) & (x < min(half + page.shape[1] * 0.44, colour_bar))]  # noqa: E731
        assert np.median(inside(red[1])) < np.median(inside(blue[1]))
    lowest = page[int(page.shape[0] * 0.72), int(page.shape[1] * 0.2)]
    assert (lowest.max() - lowest.min() < 10) == (loss == "lsif")  # Grey.


# --- all of a run ---

IMAGES = {"fig4.png", "fig5.png", "fig5.json", "fig8.png", "fig8.gif", "fig8.webp", "fig9.png", "fig11.png",
          "fig12_pixels.png", "fig12_pixels_distances.png", "fig12_pixels.npz"}  # fmt: skip
POINTS = {"fig2.png", "fig3.png", "fig5.png", "fig5.json", "fig8.gif", "fig8.webp", "fig10.png", "ratio.png"}
TRANSLATION = {name.replace("fig8", "fig7") for name in IMAGES} - {"fig9.png"}


@pytest.mark.parametrize(("name", "expected"), [("digits", IMAGES), ("points", POINTS), ("translation", TRANSLATION)])
def test_all_figures_that_a_run_can_have(name, expected, request, capsys):
    workdir = request.getfixturevalue(name)
    capsys.readouterr()  # Training, if this is the first to need the run.
    assert run(f"--workdir={workdir}", "--num_samples=20") == 0
    folder = workdir / "figures"
    assert {path.name for path in folder.iterdir()} == expected
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(expected)
    assert all(any(line.endswith(f"{folder}/{file}") for line in lines) for file in expected)
    numbers = json.loads((folder / "fig5.json").read_text())
    assert numbers["num_samples"] == 20
    for curve in numbers["metrics"].values():
        assert curve["lengths"][0] == 3
        assert {len(values) for values in curve.values()} == {len(curve["lengths"])}
    if name != "points":
        with np.load(folder / "fig12_pixels.npz") as arrays:
            assert arrays["distances"].shape == (20, 10)
            assert 0 <= arrays["share"] <= 1


def test_chosen_figures_by_seed_in_a_folder_of_choice(digits, tmp_path):
    for seed in (0, 0, 1):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        assert run(f"--workdir={digits}", "--figures=fig4,fig14", f"--seed={seed}", f"--out={out}") == 0
        assert [path.name for path in out.iterdir()] == ["fig4.png"]
    one, two, three = ((tmp_path / str(i) / "fig4.png").read_bytes() for i in range(3))
    assert one == two != three


def test_fids_make_a_table(digits, tmp_path):
    path = digits / "evaluation.jsonl"
    path.write_text(json.dumps({**FID, "dataset": "digits", "step": 4}) + "\n")
    try:
        assert run(f"--workdir={digits}", "--figures=table1", f"--out={tmp_path}") == 0
    finally:
        path.unlink()
    assert {path.name for path in tmp_path.iterdir()} == {"table1.png", "table1.md"}
    rows = own_rows((tmp_path / "table1.md").read_text())
    assert rows == [["FDRL-DDP (LSIF-χ²), step 4, 50,000 samples", "-", "-", "21.91 [21.70, 22.10]", "standard FID"]]


def test_without_the_data_what_needs_none_is_drawn(digits, tmp_path, monkeypatch, capsys):
    def gone(*args):
        raise InputError("the images are gone")

    monkeypatch.setattr(builders, "dataset", gone)
    assert run(f"--workdir={digits}", f"--out={tmp_path}", "--num_samples=4") == 0
    assert {path.name for path in tmp_path.iterdir()} == IMAGES - {name for name in IMAGES if "fig5" in name} - {
        name for name in IMAGES if "fig12" in name
    }
    assert "fig12: left out: the images are gone" in capsys.readouterr().out.splitlines()
    assert run(f"--workdir={digits}", f"--out={tmp_path}", "--figures=fig12") == 2
    assert "the images are gone" in capsys.readouterr().err


def test_names_of_runs(model, points):
    assert naming.provenance(model, 3) == "digits, FDRL-DDP (LSIF-χ²), training step 4, seed 3"
    assert naming.method_name(fdrl_jax.load(points).experiment) == "FDRL-normal prior (LR-KL)"
    experiment = dataclasses.replace(model.experiment, config={"data": {"name": "folder", "path": "a/shoes/"}})
    assert naming.dataset_name(experiment) == "shoes"


def test_nearest_images_in_a_space_of_ones_own(digits, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def rows(images):\n    return images.reshape(len(images), 8, -1).mean(axis=2).astype('float32')\n")
    flags = (f"--workdir={digits}", "--figures=fig12", "--num_samples=20", f"--out={tmp_path / 'out'}")
    assert run(*flags, f"--features=pixels,{file}:rows") == 0
    slug = Features(f"{file}:rows", "", "", pixels().apply).slug
    assert {path.name for path in (tmp_path / "out").glob("*.npz")} == {"fig12_pixels.npz", f"fig12_{slug}.npz"}
    assert run(*flags, "--features=pixel") == 2
