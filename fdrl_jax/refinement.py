"""Sample refinement, DGflow (Ansari, Ang and Soh, ICLR 2021, arXiv 2012.00780), as the special case it is.

DGflow's step on a sample x of a generator, d the logit of its discriminator and gamma the temperature,

    x <- x + eta s(d(x)) grad d(x) + sqrt(2 eta gamma) xi,

is Eq. 9 of arXiv 2303.03714 with q' the law of the generator and an r that is not trained. A discriminator trained by
logistic loss has d = log p / q, so log r = -d; and -grad f'(r) = -c(r) grad log r = c(e^-d) grad d with
c(r) = r f''(r), so that

    DGflow                                      here
    s(d): KL 1, JS 1 / (1 + e^-d),              divergence: kl, js,
          logD 1 / (1 + e^d)                                logd (s = c(e^-d), see `divergences`)
    eta                                         step_size
    sqrt(2 eta gamma)                           noise (nu)
    z <- z + eta s(d(G(z))) grad_z d(G(z)) + .. ratio_fn = compose.through(ratio_fn, G), samples = z

In the latent space of a generator of z ~ N(0, I) the ratio is the same function, r(G(z)), as their paper shows.
A generator without a discriminator of its own (a VAE, say) takes `fit_ratio` between its samples and the data, or their
density-ratio corrector: the discriminator of another generator q_0, times a ratio fitted between the two generators,
q / p = (q_0 / p) (q / q_0):

    base = discriminator_ratio(discriminator)                  # log q_0 / p
    correction = fit_ratio(samples_of_q0, generator, network)  # log q / q_0: samples_of_q0 in the place of the data
    ratio_fn = compose.product(base, correction, parameterisation="log_ratio")
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8, UInt32

from fdrl_jax import flow, rng, sampling, state, steps
from fdrl_jax.arguments import require_array, require_finite, require_integer, require_number, root_key
from fdrl_jax.data import ArrayDataset
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.losses import LOSSES, PARAMETERISATION
from fdrl_jax.models import Estimator
from fdrl_jax.priors import Prior
from fdrl_jax.programs import Program
from fdrl_jax.types import InputError, Keys, OutputFn, Parameterisation, Particles, RatioFn


def discriminator_ratio(logits: Callable[[Particles], Float[Array, " batch"]]) -> RatioFn:
    """log r = -d, from the logits d of a discriminator that says 1 to data and 0 to samples.

    >>> discriminator_ratio(lambda x: 2 * x[:, 0])(jnp.array([[3.0]])).tolist()
    [-6.0]
    """
    return lambda x: -logits(x)


def refine(
    samples: Float[Array | np.ndarray, "n *event"],
    ratio_fn: RatioFn,
    key: Key[Array, ""] | UInt32[Array | np.ndarray, "2"] | int,
    *,
    parameterisation: Parameterisation = "log_ratio",
    divergence: str = "kl",
    num_steps: int = 25,
    step_size: float = 0.1,
    temperature: float = 0.01,
    batch_size: int = sampling.DEFAULT_BATCH_SIZE,
) -> Float[np.ndarray, "n *event"]:
    """Flow samples of a generator towards the data. Defaults are DGflow's. Nothing is clipped.

    Sample i's result is a function of the sample, the key and i, not of `batch_size` (beyond rounding). `ratio_fn` is
    compiled once for an object and a size of batch: call with the same object again, not with a new lambda.

    Args:
      samples: float, of whatever space `ratio_fn` takes: images, or latent codes with `compose.through`.
      ratio_fn: samples [batch, *event] -> r or log r of generator to data, [batch].
      key: as of `sampling.sample`.
      parameterisation: what `ratio_fn` outputs.
      divergence: a name in `divergences.DIVERGENCES`.
      num_steps, step_size: kappa, at least 0, and eta, above 0.
      temperature: gamma, at least 0; the flow's noise nu is sqrt(2 eta gamma).
      batch_size: how many are flowed at a time.

    Returns:
      float32 [n, *event].

    Raises:
      InputError: an argument is out of range, the divergence cannot be driven by such a ratio, `ratio_fn` does not
        give one value a sample, or the flow diverges.
    """
    if not isinstance(divergence, str) or divergence not in DIVERGENCES:
        raise InputError(f"divergence = {divergence!r} must be one of {', '.join(DIVERGENCES)}")
    if parameterisation not in ("ratio", "log_ratio"):
        raise InputError(f"parameterisation = {parameterisation!r} must be one of ratio, log_ratio")
    require_integer("num_steps", num_steps, 0)
    require_integer("batch_size", batch_size, 1)
    require_number("step_size", step_size, 0, open_minimum=True)
    require_number("temperature", temperature, 0)
    if not math.isfinite(step_size * temperature):
        raise InputError(f"step_size = {step_size} times temperature = {temperature} is not finite: use smaller ones")
    if not callable(ratio_fn):
        raise InputError(f"ratio_fn is a {type(ratio_fn).__name__}, not a function from samples to r or log r")
    samples = require_array("samples", samples, "float [n, *event]")
    if not jnp.issubdtype(samples.dtype, jnp.floating) or samples.ndim < 2 or not len(samples):
        raise InputError(f"samples are {samples.dtype} {list(samples.shape)}, not float [n, *event] with n >= 1")
    require_finite("samples", samples)
    example = jax.ShapeDtypeStruct((2, *samples.shape[1:]), jnp.float32)
    try:
        output: Any = jax.eval_shape(ratio_fn, example)
    except Exception as error:  # Whatever a user's function raises.
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"ratio_fn cannot take samples {list(example.shape)} ({type(error).__name__}: {reason}): write it in "
            "jax.numpy, for such samples"
        ) from error
    if getattr(output, "shape", None) != (2,):
        raise InputError(f"ratio_fn gives {getattr(output, 'shape', type(output).__name__)} for 2 samples, not [2]")
    root, count = root_key(key), len(samples)
    batch_size = min(batch_size, count)
    samples = np.asarray(samples, np.float32)
    f_prime = DIVERGENCES[divergence].output_derivative(parameterisation)
    parts = []
    for first in range(0, count, batch_size):
        rows = np.minimum(first + np.arange(batch_size), count - 1)  # The last batch is computed whole and cut.
        keys = rng.per_sample(rng.stream(root, "flow"), batch_size, first)
        noise = math.sqrt(2 * step_size * temperature)
        x = _simulate(keys, samples[rows], ratio_fn, f_prime, num_steps, step_size, noise)
        parts.append(np.asarray(x)[: count - first])
    refined = np.concatenate(parts)
    if not np.isfinite(refined).all():
        raise InputError(f"the flow diverged: use a smaller step_size than {step_size:g}, or fewer steps")
    return refined


def _uncompiled_simulate(
    keys: Keys,
    x: Particles,
    ratio_fn: RatioFn,
    f_prime: OutputFn,
    num_steps: int,
    step_size: float,
    noise: float,
) -> Particles:
    return flow.simulate(
        keys, x, num_steps=num_steps, ratio_fn=ratio_fn, f_prime=f_prime, step_size=step_size, noise=noise
    )


_simulate = Program(_uncompiled_simulate, static_argnames=("ratio_fn", "f_prime", "num_steps", "step_size", "noise"))


def fit_ratio(
    data: UInt8[np.ndarray, "n *event"] | Float[np.ndarray, "n *event"],
    prior: Prior,
    network: Estimator,
    seed: int = 0,
    *,
    loss: str = "lr",
    num_steps: int = 1_000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    dequantize_sigma: float = 0.0,
    ema_decay: float = 0.99,
) -> RatioFn:
    """A network's ratio of a generator to data: the stale estimator of section 3.1, without a flow.

    It is a training step of FDRL with `guided = False`.

    Args:
      data: p, uint8 images or float examples; for a correction, the samples of the other generator.
      prior: q, a generator's law (`priors.Generated`) or any other.
      network: from `models.estimator`; its parameterisation must be the loss's.
      seed: of the initial weights, batches and draws.
      loss: a name in `losses.LOSSES`.
      num_steps, batch_size, learning_rate, ema_decay: of the training; Adam (0.9, 0.999), averaged parameters.
      dequantize_sigma: of Gaussian noise on the data, in units of pixels in [-1, 1].

    Returns:
      Particles -> r or log r, by the loss's parameterisation.

    Raises:
      InputError: the loss is unknown or not the network's, there are fewer examples than a batch, or training diverged.
    """
    if PARAMETERISATION.get(loss) != network.parameterisation:
        fits = ", ".join(name for name, output in PARAMETERISATION.items() if output == network.parameterisation)
        raise InputError(f"loss = {loss!r} is not for a network of the {network.parameterisation}: use {fits}")
    if len(data) < batch_size:
        raise InputError(f"batch_size = {batch_size} is more than the {len(data)} examples")
    recipe = steps.Recipe(
        estimator=network,
        loss=LOSSES[loss],
        f_prime=_unused,
        num_steps=0,
        step_size=1.0,
        noise=0.0,
        guided=False,
        dequantize_sigma=dequantize_sigma,
        ema_decay=ema_decay,
    )
    optimizer = state.adam(state.learning_rate_schedule(learning_rate, (), 1.0), 0.9, 0.999)
    root = jax.random.key(seed)
    params = network.init(rng.stream(root, "init"))
    train_state = state.create_state(params, optimizer, network.init_spectral(rng.stream(root, "spectral"), params))
    train_step = steps.make_train_step(recipe, optimizer)
    batches = ArrayDataset(data, flip=False)
    for step in range(num_steps):
        train_state, metrics = train_step(train_state, prior, root, jnp.asarray(batches.batch(seed, step, batch_size)))
    if num_steps and not np.isfinite(metrics["loss"]):
        raise InputError(f"the ratio's training diverged: use a smaller learning_rate than {learning_rate}")
    return network.ratio_fn(network.effective(train_state.ema_params, train_state.spectral))


def _unused(output: Float[Array, "..."]) -> Float[Array, "..."]:
    return output
