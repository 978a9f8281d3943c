"""Adversarial training of a classifier, for class-conditional sampling.

Madry et al., "Towards deep learning models resistant to adversarial attacks", arXiv 1706.06083. The input gradient of
such a classifier looks like the class (Santurkar et al., arXiv 1906.09453). FDRL needs that, because this gradient
steers samples to their class (Eq. 31 of arXiv 2303.03714).
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from clu import metrics
from jaxtyping import Array, Float, Int, Key, PyTree
from tqdm.auto import tqdm

from fdrl_jax import data
from fdrl_jax.experiment import builders
from fdrl_jax.experiment.workdir_files import CONFIG_FILE, METRICS_FILE, write_setup
from fdrl_jax.inference.classifiers import trained
from fdrl_jax.inference.classifiers.base import Classifier, Logits
from fdrl_jax.methods import train_state
from fdrl_jax.types import DivergedError, InputError, Params, Particles
from fdrl_jax.utils import rng
from fdrl_jax.utils.compilation import Program
from fdrl_jax.utils.pixel_scaling import to_float
from fdrl_jax.utils.untrusted_files import load_json

# Robust accuracy is reported under an attack of this many steps, longer than the one in training.
REPORT_STEPS = 20

_BATCH = 250


def attack(
    logits_fn: Callable[[Particles], Logits],
    x: Particles,
    labels: Int[Array, " batch"],
    key: Key[Array, ""],
    eps: float | Float[Array, ""],
    num_steps: int,
) -> Particles:
    """Projected gradient ascent on the cross-entropy within an L2 ball around each image (Madry et al., section 2).

    It starts at a random point in the ball and takes steps of 2.5 eps / num_steps along the normalised gradient.

    Args:
      logits_fn: the classifier under attack.
      x: images [batch, H, W, C] in [-1, 1].
      labels: their classes.
      key: PRNG key of the random starts.
      eps: radius of the ball in units of x, twice the radius in pixels of [0, 1].
      num_steps: number of steps.

    Returns:
      Images in the ball, and in [-1, 1] where x is.
    """
    axes = tuple(range(1, x.ndim))

    def norm(v: Particles) -> Particles:
        return jnp.sqrt(jnp.square(v).sum(axis=axes, keepdims=True))

    def project(delta: Particles) -> Particles:
        delta = delta * jnp.minimum(1, eps / jnp.maximum(norm(delta), 1e-12))
        # Clipping moves towards the image itself, so the result stays in the ball.
        return jnp.clip(x + delta, jnp.minimum(x, -1), jnp.maximum(x, 1)) - x

    def loss(delta: Particles) -> Float[Array, ""]:
        return optax.softmax_cross_entropy_with_integer_labels(logits_fn(x + delta), labels).sum()

    def ascend(_: int, delta: Particles) -> Particles:
        gradient = jax.grad(loss)(delta)
        return project(delta + 2.5 * eps / num_steps * gradient / jnp.maximum(norm(gradient), 1e-12))

    radius_key, direction_key = jax.random.split(key)
    direction = jax.random.normal(direction_key, x.shape)
    radius = jax.random.uniform(radius_key, (len(x), *(1 for _ in axes)))
    start = project(eps * radius * direction / norm(direction))
    return x + jax.lax.fori_loop(0, num_steps, ascend, start)


def accuracy(
    classifier: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.0,
    num_steps: int = REPORT_STEPS,
) -> float:
    """The share of images that are classified correctly; each is attacked first if `eps` is above 0.

    Args:
      classifier: a classifier of images of this shape.
      images: uint8 [n, H, W, C], or float in [-1, 1].
      labels: int [n].
      eps: radius of the L2 ball in pixels of [0, 1], as the literature states it.
      num_steps: number of steps of the attack.
    """
    right = 0
    for first in range(0, len(images), _BATCH):
        x, y = images[first : first + _BATCH], labels[first : first + _BATCH]
        # The last batch is filled up with its first image, so that one compiled program does for all batches.
        full, classes = (np.concatenate([a, np.repeat(a[:1], _BATCH - len(a), axis=0)]) for a in (x, y))
        key = jax.random.fold_in(jax.random.key(0), first)
        right += int(
            _right(classifier.apply, num_steps if eps else 0, classifier.params, full, classes, key, 2 * eps)[
                : len(x)
            ].sum()
        )
    return right / len(images)


def _right_or_wrong(
    apply: Any, num_steps: int, params: Params, images: Array, labels: Array, key: Key[Array, ""], eps: Array
) -> Array:
    x = to_float(images)
    if num_steps:
        x = attack(lambda x: apply(params, x), x, labels, key, eps, num_steps)
    return apply(params, x).argmax(axis=1) == labels


_right = Program(_right_or_wrong, static_argnames=("apply", "num_steps"))


# Running means of a step's metrics since the last line of the log; they stay on the device until then.
_Means: Any = metrics.Collection.create(
    loss=metrics.Average.from_output("loss"), accuracy=metrics.Average.from_output("accuracy")
)


class _State(NamedTuple):
    params: Params
    opt_state: PyTree
    means: Any


def _make_step(config: dict[str, Any], logits: Any, optimizer: optax.GradientTransformation) -> Any:
    eps, num_steps, sigma = (
        2 * config["attack"]["eps"],
        config["attack"]["num_steps"],
        config["data"]["dequantize_sigma"],
    )

    def loss_fn(params: Params, x: Particles, labels: Array) -> tuple[Array, Array]:
        out = logits(params, x)
        return optax.softmax_cross_entropy_with_integer_labels(out, labels).mean(), (
            out.argmax(axis=1) == labels
        ).mean()

    def step(now: _State, images: Array, labels: Array, key: Key[Array, ""]) -> _State:
        x = to_float(images)
        x += sigma * jax.random.normal(rng.stream(key, "dequantize"), x.shape)
        if eps:
            x = attack(lambda x: logits(now.params, x), x, labels, rng.stream(key, "attack"), eps, num_steps)
        (loss, right), gradient = jax.value_and_grad(loss_fn, has_aux=True)(now.params, x, labels)
        updates, opt_state = optimizer.update(gradient, now.opt_state, now.params)
        means = now.means.merge(_Means.single_from_model_output(loss=loss, accuracy=right))
        return _State(optax.apply_updates(now.params, updates), opt_state, means)

    return Program(step)


def train_classifier(config: Any, workdir: str | pathlib.Path, progress: bool = True) -> dict[str, Any]:
    """Train a classifier from the start, measure it on held-out images, and store both (`--mode=train_classifier`).

    A training that was interrupted starts again, because it takes only minutes.

    Args:
      config: as in configs/classifier.py; `trained.COMMON` lists its fields.
      workdir: directory of the classifier, made if missing.
      progress: show a progress bar.

    Returns:
      The content of accuracy.json: the shares of held-out images that are classified correctly, "clean" and "robust"
      (attacked within "eps", in pixels of [0, 1]), and "num_images". A standard classifier (eps 0) has no "robust".

    Raises:
      InputError: the config is wrong, the data has no labels, or `workdir` holds something else.
      DivergedError: the loss became non-finite.
    """
    config, workdir = trained.normalise(config), pathlib.Path(workdir)
    if _is_done(config, workdir):
        print(f"{workdir} holds that classifier already: nothing to do")
        return load_json(workdir / trained.ACCURACY_FILE)
    images, labels = builders.labelled(config["data"], progress=progress)
    held_out, held_out_labels = builders.labelled(config["data"], held_out=True, progress=progress)
    size, classes = config["data"]["batch_size"], config["model"]["classes"]
    if size > len(images):
        raise InputError(f"config.data.batch_size = {size} is more than the {len(images)} examples: use a smaller one")
    if labels.max() >= classes:
        raise InputError(f"config.model.classes = {classes}, and there are labels up to {labels.max()}: raise it")
    workdir.mkdir(parents=True, exist_ok=True)
    write_setup(workdir, config, {})

    module = trained.network(config)
    params = _loop(config, module, data.ArrayDataset(images, config["data"]["flip"]), labels, workdir, progress)
    classifier = Classifier(module.logits, params, str(workdir))
    chosen = np.random.default_rng(0).permutation(len(held_out))[: config["train"]["num_held_out"]]
    held_out, held_out_labels = held_out[chosen], held_out_labels[chosen]
    eps = config["attack"]["eps"]
    result: dict[str, Any] = {"num_images": len(held_out), "clean": accuracy(classifier, held_out, held_out_labels)}
    if eps:
        result |= {"eps": eps, "robust": accuracy(classifier, held_out, held_out_labels, eps)}
    trained.save(workdir, params, result)
    robust = f", {result['robust']:.1%} attacked within L2 distance {eps:.3g} of pixels in [0, 1]" if eps else ""
    print(f"{workdir}: accuracy on {len(held_out)} held-out images {result['clean']:.1%}{robust}")
    return result


def _is_done(config: dict[str, Any], workdir: pathlib.Path) -> bool:
    if not workdir.exists():
        return False
    if not workdir.is_dir():
        raise InputError(f"--workdir={workdir} is no folder: choose another")
    file = workdir / CONFIG_FILE
    if not file.exists():
        return False
    try:
        stored = builders.normalise(load_json(file))
    except (ValueError, AttributeError) as error:
        raise InputError(f"{file} is damaged ({error}): use a new workdir") from None
    if _without_places(stored) != _without_places(config):
        raise InputError(f"--workdir={workdir} belongs to another experiment: use a new workdir, or that config")
    return (workdir / trained.WEIGHTS_FILE).exists()


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """The config without the paths of files, which may be moved between two runs."""
    fields = config.get("data", {})
    return {**config, "data": {name: fields[name] for name in fields if name not in ("path", "cache")}}


def _loop(
    config: dict[str, Any],
    module: Any,
    dataset: data.ArrayDataset,
    labels: np.ndarray,
    workdir: pathlib.Path,
    progress: bool,
) -> Params:
    settings, size, seed = config["train"], config["data"]["batch_size"], config["seed"]
    chosen = config["optimizer"]
    schedule = train_state.learning_rate_schedule(
        chosen["learning_rate"], chosen["decay_steps"], chosen["decay_factor"]
    )
    optimizer = train_state.adam(schedule, chosen["b1"], chosen["b2"])
    root = jax.random.key(seed)
    params = module.start(rng.stream(root, "init"), dataset.event_shape)
    now, step = _State(params, optimizer.init(params), _Means.empty()), _make_step(config, module.logits, optimizer)
    with (workdir / METRICS_FILE).open("w") as file:
        for k in tqdm(range(settings["num_steps"]), desc="train", unit="step", disable=not progress):
            batch, classes = dataset.batch(seed, k, size), labels[dataset.indices(seed, k, size)]
            now = step(now, batch, classes.astype(np.int32), rng.stream(root, "step", k))
            if (k + 1) % settings["log_every"] == 0 or k + 1 == settings["num_steps"]:
                means = {name: float(value) for name, value in now.means.compute().items()}
                if not np.isfinite(means["loss"]):
                    raise DivergedError(f"training diverged before step {k + 1}: use a smaller optimizer.learning_rate")
                file.write(json.dumps({"step": k + 1, **means}) + "\n")
                file.flush()
                now = now._replace(means=_Means.empty())
    return now.params
