"""FDRL step for step against the authors' trainings, and the parts of a step seen through linear estimators.

Covers: `train_state`.
"""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend import core
from parity import assert_close, fixture, mlp_params, random_params, torch_weights

from fdrl_jax import flow, models, priors
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.experiment import checkpoint
from fdrl_jax.losses import LOSSES, PARAMETERISATION
from fdrl_jax.methods import fdrl_train_step, prior_draws, ratio_flow, train_state
from fdrl_jax.types import InputError
from fdrl_jax.utils import rng

ROOT = jax.random.key(2)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Injected:
    """A prior whose draws are given."""

    x: jax.Array

    @property
    def event_shape(self):
        return self.x.shape[1:]

    def sample(self, keys):
        return self.x


def recipe(estimator, loss="lsif", divergence="chi2", **changes):
    settings = {"num_steps": 5, "step_size": 0.05, "noise": 0.0, "guided": True}
    settings |= {"dequantize_sigma": 0.0, "ema_decay": 0.998} | changes
    f_prime = DIVERGENCES[divergence].output_derivative(PARAMETERISATION[loss])
    return fdrl_train_step.Recipe(estimator, f_prime, loss=LOSSES[loss], **settings)


def linear(apply=lambda params, x: x @ params):
    """An estimator of r whose parameters are one vector."""
    return models.Estimator(init=lambda key: jnp.ones(2), apply=apply, parameterisation="ratio")


def sgd_state(params):
    """A state whose updates change nothing, for what is read off the metrics."""
    optimizer = optax.sgd(0.0)
    return train_state.create_state(params, optimizer), optimizer


def points(count, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal((count, 2)), jnp.float32)


def advance(recipe, params, x, first=0, first_step=0, num_steps=5):
    x = jnp.array(x)  # A copy: `advance` donates it.
    return ratio_flow.advance(recipe, params, ROOT, x, jnp.int32(first), jnp.int32(first_step), num_steps)


# --- the authors' trainings ---


@pytest.mark.parametrize(
    ("theirs", "loss", "divergence"),
    [
        ("LSIF-Pearson", "lsif", "chi2"),
        ("LR-KL", "lr", "kl"),
        ("LR-JS", "lr", "js"),
        ("LR-logD", "lr", "logd"),
        ("KL-KL", "kliep", "kl"),
    ],
)
def test_three_training_steps_match_the_authors(theirs, loss, divergence):
    expected = {key.removeprefix(f"mlp/{theirs}/"): x for key, x in fixture().items() if theirs in key}
    estimator = models.estimator(models.MLP((16, 16, 16)), (2,), PARAMETERISATION[loss])
    optimizer = train_state.adam(optax.constant_schedule(1e-3), 0.9, 0.999)
    train = recipe(estimator, loss, divergence)
    train_step = fdrl_train_step.make_train_step(train, optimizer)

    current = train_state.create_state(mlp_params(torch_weights("mlp").__getitem__), optimizer)
    losses, flow_ratios = [], []
    for x_0, x_K, data in zip(expected["x_0"], expected["x_K"], expected["x_de"], strict=True):
        assert_close(advance(train, current.params, x_0), x_K)
        current, metrics = train_step(current, Injected(jnp.asarray(x_0)), ROOT, jnp.asarray(data))
        losses.append(metrics["loss"])
        flow_ratios.append(metrics["ratio_flow"])

    # LSIF's loss is here a small difference of two terms, one of them E_q[r]: its rounding is relative to that.
    assert_close(losses, expected["loss"], scale=max(flow_ratios) if loss == "lsif" else None)
    assert int(current.step) == 3
    for ours, kind in ((current.params, "param"), (current.ema_params, "ema")):
        jax.tree.map(assert_close, ours, mlp_params(lambda name, kind=kind: expected[f"{kind}/{name}"]))


# --- one compilation, donated ---


def test_train_step_is_traced_once_over_a_run():
    traces = []

    def loss(data_output, flow_output):
        traces.append(1)
        return LOSSES["lsif"](data_output, flow_output)

    current, optimizer = sgd_state(jnp.ones(2))
    train_step = fdrl_train_step.make_train_step(dataclasses.replace(recipe(linear()), loss=loss), optimizer)
    for i in range(4):
        prior = priors.Gaussian(jnp.full(2, float(i)), jnp.eye(2))
        current, _ = train_step(current, prior, jax.random.key(i), points(8, i))
    assert len(traces) == 1


def test_train_step_donates_the_state_and_nothing_else():
    before, optimizer = sgd_state(jnp.ones(2))
    prior, batch, root = Injected(points(8)), points(8), jax.random.key(0)
    after, _ = fdrl_train_step.make_train_step(recipe(linear()), optimizer)(before, prior, root, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((after, prior, root, batch)))


# --- one step, by hand ---


W = np.array([0.5, -1.0], np.float32)


@pytest.mark.parametrize("guided", [True, False])
def test_a_step_flows_the_prior_by_the_online_parameters_only_if_guided(guided):
    # r = w . x under chi2: K steps move x_0 by -2 eta K w, and r by -2 eta K |w|^2.
    before, optimizer = sgd_state(jnp.asarray(W))
    before = dataclasses.replace(before, ema_params=jnp.zeros(2))
    x_p, x_0 = points(16), points(16, seed=1)
    _, metrics = fdrl_train_step.make_train_step(recipe(linear(), guided=guided), optimizer)(
        before, Injected(x_0), ROOT, x_p
    )
    x_q = np.asarray(x_0) - (2 * 0.05 * 5 * W if guided else 0)
    assert float(metrics["ratio_flow"]) == pytest.approx((x_q @ W).mean(), rel=1e-5)
    assert float(metrics["ratio_data"]) == pytest.approx((np.asarray(x_p) @ W).mean(), rel=1e-5)
    r = np.asarray(x_p) @ W
    assert float(metrics["loss"]) == pytest.approx(0.5 * (r**2).mean() - (x_q @ W).mean(), rel=1e-5)
    # Through x_p and x_q as they are: not through the flow, where x_q depends on w.
    gradient = (r[:, None] * np.asarray(x_p)).mean(axis=0) - x_q.mean(axis=0)
    assert float(metrics["grad_norm"]) == pytest.approx(np.linalg.norm(gradient), rel=1e-5)
    assert float(metrics["max_flow"]) == pytest.approx(np.abs(x_q).max(), rel=1e-5)


@pytest.mark.parametrize("microbatch", [0, 4])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_bad_sample_shows_in_the_metrics(bad, microbatch):
    # Where the network does not see it: the loss is good.
    estimator = linear(lambda params, x: jnp.where(jnp.isfinite(x), x, 0) @ params)
    before, optimizer = sgd_state(jnp.asarray(W))
    x_0 = points(16).at[5, 1].set(bad)
    train_step = fdrl_train_step.make_train_step(recipe(estimator, guided=False, microbatch=microbatch), optimizer)
    _, metrics = train_step(before, Injected(x_0), ROOT, points(16))
    assert np.isfinite([metrics["loss"], metrics["grad_norm"]]).all()
    np.testing.assert_equal(float(metrics["max_flow"]), bad)


def test_adam_takes_its_rate_from_the_schedule():
    # Rate 0 from update 2 on: the parameters move twice, and by about the rate each time (Adam).
    optimizer = train_state.adam(train_state.learning_rate_schedule(0.01, (2,), 0.0), 0.9, 0.999)
    current = train_state.create_state(jnp.asarray(W), optimizer)
    train_step = fdrl_train_step.make_train_step(recipe(linear()), optimizer)
    moves = []
    for i in range(4):
        before = np.array(current.params)
        current, _ = train_step(current, Injected(points(16)), ROOT, points(16, i))
        moves.append(np.abs(current.params - before).max())
    np.testing.assert_allclose(moves[:2], 0.01, rtol=0.2)
    np.testing.assert_array_equal(moves[2:], 0)


def test_ema_follows_the_new_parameters():
    optimizer = optax.sgd(0.5)
    before = train_state.create_state(jnp.asarray(W), optimizer)
    train_step = fdrl_train_step.make_train_step(recipe(linear(), ema_decay=0.9), optimizer)
    after, _ = train_step(before, Injected(points(16)), ROOT, points(16, 1))
    assert np.abs(after.params - W).max() > 0.1
    np.testing.assert_allclose(after.ema_params, 0.9 * W + 0.1 * np.asarray(after.params), rtol=1e-6)


def test_bytes_become_pixels_in_minus_one_to_one():
    current, optimizer = sgd_state(jnp.ones(()))
    mean = linear(lambda params, x: params * x.mean(axis=(1, 2, 3)))
    batch = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), dtype=np.uint8)
    train_step = fdrl_train_step.make_train_step(recipe(mean), optimizer)
    _, metrics = train_step(current, Injected(jnp.zeros((8, 4, 4, 1))), ROOT, jnp.asarray(batch))
    assert float(metrics["ratio_data"]) == pytest.approx((batch / 127.5 - 1).mean(), rel=1e-5)


@pytest.mark.parametrize("sigma", [0.0, 0.03, 0.5])
def test_data_alone_is_dequantised_with_sigma(sigma):
    # Of zeros, the mean square is sigma^2, with standard error sigma^2 sqrt(2 / count).
    count = 64 * 1000
    current, optimizer = sgd_state(jnp.ones(()))
    square = linear(lambda params, x: params * (x**2).mean(axis=1))
    train_step = fdrl_train_step.make_train_step(recipe(square, dequantize_sigma=sigma, guided=False), optimizer)
    _, metrics = train_step(current, Injected(jnp.zeros((64, 1000))), ROOT, jnp.zeros((64, 1000)))
    assert abs(float(metrics["ratio_data"]) - sigma**2) <= 4 * sigma**2 * np.sqrt(2 / count)
    assert float(metrics["ratio_flow"]) == 0


def test_every_step_draws_afresh_and_by_the_step_alone():
    def observe(current, root=ROOT):
        _, metrics = train_step(current, priors.Normal((2,)), root, jnp.zeros((8, 2)))
        return tuple(float(metrics[name]) for name in ("ratio_data", "ratio_flow"))

    _, optimizer = sgd_state(jnp.ones(2))
    train_step = fdrl_train_step.make_train_step(recipe(linear(), noise=0.1, dequantize_sigma=0.1), optimizer)

    def at(step):
        return dataclasses.replace(sgd_state(jnp.ones(2))[0], step=jnp.int32(step))

    assert observe(at(5)) == observe(at(5))
    seen = [observe(at(5)), observe(at(6)), observe(at(5), jax.random.key(9))]
    assert all(len(set(column)) == 3 for column in zip(*seen, strict=True))


def test_each_purpose_draws_from_the_stream_of_its_name():
    train, prior = recipe(linear(), noise=0.1, dequantize_sigma=0.2), priors.Normal((2,))
    current, optimizer = sgd_state(jnp.asarray(W))
    current = dataclasses.replace(current, step=jnp.int32(4))
    _, metrics = fdrl_train_step.make_train_step(train, optimizer)(current, prior, ROOT, jnp.zeros((8, 2)))

    keys = {name: rng.per_sample(rng.stream(ROOT, name, 4), 8) for name in ("dequantize", "prior", "flow")}
    x_p = 0.2 * rng.normal(keys["dequantize"], (2,))
    x_q = flow.simulate(keys["flow"], prior.sample(keys["prior"]), num_steps=5, **train.dynamics(jnp.asarray(W)))
    assert float(metrics["ratio_data"]) == pytest.approx(float((x_p @ W).mean()), rel=1e-5)
    assert float(metrics["ratio_flow"]) == pytest.approx(float((x_q @ W).mean()), rel=1e-5)


def test_log_ratio_metrics_are_ratios():
    o = jnp.array([-1.0, 0.0, 2.0, 1e4])
    np.testing.assert_allclose(ratio_flow.ratio(o, "log_ratio")[:3], np.exp([-1, 0, 2]), rtol=1e-6)
    assert jnp.isfinite(ratio_flow.ratio(o, "log_ratio")).all()
    np.testing.assert_array_equal(ratio_flow.ratio(o, "ratio"), o)


@pytest.mark.parametrize(
    ("module", "precision", "loss", "divergence"),
    [
        (models.MLP((8,)), "float32", "lsif", "chi2"),
        (models.MLP((8,)), "bf16", "lr", "js"),
        (models.ResNet(4, ()), "bf16", "lsif", "chi2"),
    ],
    ids=["mlp-float32", "mlp-bf16", "resnet-bf16"],
)
def test_metrics_of_a_network_are_finite_float32_scalars(module, precision, loss, divergence):
    estimator = models.estimator(module, (4, 4, 1), PARAMETERISATION[loss], precision)
    optimizer = train_state.adam(optax.constant_schedule(1e-3), 0.9, 0.999)
    current = train_state.create_state(random_params(estimator), optimizer)
    train_step = fdrl_train_step.make_train_step(recipe(estimator, loss, divergence, noise=0.01), optimizer)
    current, metrics = train_step(current, priors.Uniform((4, 4, 1)), ROOT, jnp.zeros((8, 4, 4, 1), jnp.uint8))
    assert set(metrics) == {"loss", "ratio_data", "ratio_flow", "grad_norm", "max_flow"}
    assert all(x.dtype == jnp.float32 and x.shape == () and jnp.isfinite(x) for x in metrics.values())
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((current.params, current.ema_params)))


# --- spectral norm ---


def normed(attention=0, parameterisation="ratio", optimizer=None):
    """Estimator, optimiser and first state of a small image network."""
    module = models.ResNet(8, (models.Stage(8, 1, 2),), attention=attention)
    estimator = models.estimator(module, (4, 4, 1), parameterisation, spectral_norm=True)
    optimizer = optimizer or optax.sgd(0.0)
    params = random_params(estimator)
    vectors = estimator.init_spectral(jax.random.key(5), params)
    return estimator, optimizer, train_state.create_state(params, optimizer, vectors)


def images(count, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, (count, 4, 4, 1)), jnp.float32)


def copy(tree):
    """Of what the training step donates."""
    return jax.tree.map(jnp.copy, tree)


def test_the_vectors_advance_by_one_power_iteration_a_step():
    estimator, optimizer, current = normed(optimizer=optax.sgd(1e-2))
    train_step = fdrl_train_step.make_train_step(recipe(estimator), optimizer)
    for i in range(3):
        expected = estimator.advance_spectral(current.params, current.spectral)
        current, _ = train_step(current, Injected(images(4, i)), ROOT, images(4, 10 + i))
        jax.tree.map(assert_close, current.spectral, expected)
        after = estimator.advance_spectral(current.params, current.spectral)
        moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), after, current.spectral)
        assert max(jax.tree.leaves(moved)) > 1e-3  # Another one would have shown.


@pytest.mark.slow
def test_flow_and_loss_take_the_weights_normalised_by_the_new_vectors():
    estimator, optimizer, current = normed(attention=1)
    train = recipe(estimator, step_size=3.0)
    effective = estimator.effective(current.params, estimator.advance_spectral(current.params, current.spectral))
    keys = rng.per_sample(ROOT, 8)
    x_q = flow.simulate(keys, images(8), num_steps=5, **train.dynamics(effective))
    o_p, o_q = estimator.apply(effective, images(8, 1)), estimator.apply(effective, x_q)
    _, metrics = fdrl_train_step.make_train_step(train, optimizer)(current, Injected(images(8)), ROOT, images(8, 1))
    assert float(metrics["ratio_flow"]) == pytest.approx(float(o_q.mean()), rel=1e-5)
    assert float(metrics["ratio_data"]) == pytest.approx(float(o_p.mean()), rel=1e-5)
    assert float(metrics["loss"]) == pytest.approx(float((o_p**2).mean() / 2 - o_q.mean()), rel=1e-5)


@pytest.mark.slow
def test_the_update_goes_through_the_spectral_norm():
    # The chain rule by hand: with C the gradient at W / s, that at W is C / s - <C, W> / s^2 u v^T, s = u^T W v.
    estimator, optimizer, current = normed(optimizer=optax.sgd(1.0))
    params, x_q, x_p = copy(current.params), images(8), images(8, 1)
    vectors = estimator.advance_spectral(params, current.spectral)

    def loss(effective):
        return (estimator.apply(effective, x_p) ** 2).mean() / 2 - estimator.apply(effective, x_q).mean()

    at_effective = jax.grad(loss)(estimator.effective(params, vectors))
    train_step = fdrl_train_step.make_train_step(recipe(estimator, guided=False), optimizer)
    after, _ = train_step(current, Injected(x_q), ROOT, x_p)
    update = jax.tree.map(lambda old, new: np.asarray(old - new, np.float64), params, after.params)
    for block, layer in [("stem", None), ("stage0_block0", "conv1"), ("stage0_block0", "shortcut"), ("head", None)]:

        def kernel(tree, block=block, layer=layer):
            return (tree[block] if layer is None else tree[block][layer])["kernel"]

        W, C, actual = (
            np.asarray(kernel(tree), np.float64).reshape(-1, kernel(tree).shape[-1]).T
            for tree in (params, at_effective, update)
        )
        u, v = (np.asarray(kernel(vectors)[x], np.float64) for x in "uv")
        s = u @ W @ v
        assert_close(actual, C / s - (C * W).sum() / s**2 * np.outer(u, v), 1e-4)
    assert_close(update["head"]["bias"], at_effective["head"]["bias"])


def test_weights_are_normalised_outside_the_flows_loop():
    def primitives(spectral_norm):
        """How often each occurs in the whole step, and in the body of its only scan."""
        estimator, optimizer, current = normed()
        current = current if spectral_norm else dataclasses.replace(current, spectral={})
        train_step = fdrl_train_step.make_train_step(recipe(estimator), optimizer)
        equations = list(_equations(jax.make_jaxpr(train_step)(current, Injected(images(4)), ROOT, images(4)).jaxpr))
        (scan,) = [equation for equation in equations if equation.primitive.name == "scan"]
        return [
            collections.Counter(equation.primitive.name for equation in some)
            for some in (equations, _equations(scan.params["jaxpr"].jaxpr))
        ]

    (plain, plain_body), (normalised, body) = primitives(False), primitives(True)
    assert body == plain_body
    assert body["conv_general_dilated"] > 0
    # Two products for the power iteration, one each for flow and loss, and the latter's gradient; for five kernels.
    assert normalised["dot_general"] - plain["dot_general"] >= 5 * 4


def _equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in core.jaxprs_in_params(eqn.params):
            yield from _equations(inner)


def test_trained_weights_keep_a_spectral_norm_near_one():
    # At a small rate, so that one power iteration a step keeps up.
    estimator, optimizer, current = normed(
        attention=1, optimizer=train_state.adam(optax.constant_schedule(1e-4), 0.9, 0.999)
    )
    train_step = fdrl_train_step.make_train_step(recipe(estimator), optimizer)
    for i in range(150):
        current, _ = train_step(current, Injected(images(4, i)), ROOT, images(4, 1000 + i))
    norms = [
        np.linalg.norm(np.asarray(leaf).reshape(-1, leaf.shape[-1]), 2)
        for path, leaf in jax.tree_util.tree_leaves_with_path(estimator.effective(current.params, current.spectral))
        if path[-1].key == "kernel"
    ]
    assert len(norms) == 9
    np.testing.assert_allclose(norms, 1, rtol=0.02)


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_a_state_survives_its_checkpoint(spectral_norm, tmp_path):
    estimator, optimizer, current = normed(optimizer=optax.sgd(1e-2))
    current = dataclasses.replace(current, spectral=current.spectral if spectral_norm else {})
    current, _ = fdrl_train_step.make_train_step(recipe(estimator), optimizer)(
        current, Injected(images(4)), ROOT, images(4)
    )
    with checkpoint.Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(1, current)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(1, jax.eval_shape(lambda: current))
    assert jax.tree.structure(restored) == jax.tree.structure(current)
    assert bool(restored.spectral) is spectral_norm
    jax.tree.map(np.testing.assert_array_equal, restored, current)


def test_a_checkpoint_without_vectors_is_not_of_a_network_with_spectral_norm(tmp_path):
    _, _, current = normed()
    with checkpoint.Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(1, dataclasses.replace(current, spectral={}))
    message = r"spectral\.head\.kernel\.u is 'absent' there"
    with checkpoint.Checkpoints(tmp_path) as checkpoints, pytest.raises(InputError, match=message):
        checkpoints.restore(1, current)


# --- state ---


@pytest.mark.parametrize(("decay_steps", "factor"), [((), 0.1), ((3,), 0.1), ((2, 5), 0.5)])
def test_learning_rate_is_that_of_multi_step_lr(decay_steps, factor):
    schedule = train_state.learning_rate_schedule(1e-3, decay_steps, factor)
    rate = 1e-3  # torch.optim.lr_scheduler.MultiStepLR, stepped after each update, multiplies at each milestone.
    for update in range(8):
        rate *= factor if update in decay_steps else 1
        assert float(schedule(update)) == pytest.approx(rate, rel=1e-6)


def test_ema_weighs_the_old_average_by_the_decay():
    assert float(train_state.update_ema({"w": jnp.float32(1)}, {"w": jnp.float32(3)}, 0.9)["w"]) == pytest.approx(1.2)


def test_first_state_averages_its_own_parameters():
    params = {"w": jnp.asarray(W)}
    first = train_state.create_state(params, optax.sgd(1.0))
    assert int(first.step) == 0
    np.testing.assert_array_equal(first.ema_params["w"], W)
    assert first.ema_params["w"].unsafe_buffer_pointer() != params["w"].unsafe_buffer_pointer()


# --- sampling ---


def test_sampling_in_pieces_equals_one_recorded_run():
    # r = |x|^2 / 4 under chi2: the drift is -x.
    quadratic = recipe(linear(lambda params, x: params * (x**2).sum(axis=1) / 4), noise=0.1)
    params, x = jnp.ones(()), points(6)
    states = ratio_flow.record(quadratic, params, ROOT, x, jnp.int32(3), num_steps=7, every=3)
    assert states.shape == (4, 6, 2)
    np.testing.assert_array_equal(states[0], x)
    halfway = advance(quadratic, params, x, first=3, num_steps=4)
    np.testing.assert_array_equal(advance(quadratic, params, halfway, first=3, first_step=4, num_steps=3), states[-1])
    # Samples 5 and 6 of the run by themselves, and their indices matter.
    np.testing.assert_allclose(advance(quadratic, params, x[2:4], first=5, num_steps=7), states[-1, 2:4], rtol=1e-5)
    assert not np.allclose(advance(quadratic, params, x[2:4], first=4, num_steps=7), states[-1, 2:4], atol=0.01)


def test_prior_draws_go_by_sample_index():
    prior = priors.Normal((2,))
    draws = prior_draws.draw_prior(prior, ROOT, jnp.int32(0), 8)
    np.testing.assert_allclose(prior_draws.draw_prior(prior, ROOT, jnp.int32(3), 2), draws[3:5], rtol=1e-6)
