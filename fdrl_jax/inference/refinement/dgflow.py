"""Sample refinement by DGflow (Ansari, Ang and Soh, ICLR 2021, arXiv 2012.00780), as a special case of the flow.

The step of DGflow on a sample x of a generator, with the logit d of its discriminator and the temperature gamma,

    x <- x + eta s(d(x)) grad d(x) + sqrt(2 eta gamma) xi,

is Eq. 9 of arXiv 2303.03714, with the distribution of the generator as q' and an r that is not trained. A discriminator
trained by logistic loss has d = log p / q, so log r = -d; and -grad f'(r) = -c(r) grad log r = c(e^-d) grad d with
c(r) = r f''(r). The symbols correspond as follows.

    DGflow                                      here
    s(d): KL 1, JS 1 / (1 + e^-d),              divergence: kl, js,
          logD 1 / (1 + e^d)                                logd (s = c(e^-d), see `divergences`)
    eta                                         step_size
    sqrt(2 eta gamma)                           noise (nu)
    z <- z + eta s(d(G(z))) grad_z d(G(z)) + .. ratio_fn = compose.precompose(ratio_fn, G), samples = z

In the latent space of a generator of z ~ N(0, I) the ratio is the same function, r(G(z)), as the paper of DGflow shows.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt32

from fdrl_jax import flow
from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.inference import sampling
from fdrl_jax.types import InputError, Keys, OutputFn, Parameterisation, Particles, RatioFn
from fdrl_jax.utils import rng
from fdrl_jax.utils.compilation import Program
from fdrl_jax.utils.validation import require_array, require_finite, require_integer, require_number, root_key


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
    """Flow samples of a generator towards the data. The defaults are DGflow's. The result is not clipped.

    The result of sample i is a function of the sample, the key and i; up to rounding it does not depend on
    `batch_size`. `ratio_fn` is compiled once per object and batch size, so pass the same object again and not a new
    lambda.

    Args:
      samples: float samples in the space of `ratio_fn`: images, or latent codes with `compose.precompose`.
      ratio_fn: function from samples [batch, *event] to r or log r of the generator to the data, [batch].
      key: key of the noise, as in `sampling.sample`.
      parameterisation: output of `ratio_fn`.
      divergence: name of a divergence in `divergences.DIVERGENCES`.
      num_steps: number of flow steps (kappa), at least 0.
      step_size: eta, above 0.
      temperature: gamma, at least 0; the noise nu of the flow is sqrt(2 eta gamma).
      batch_size: number of samples that are flowed at a time.

    Returns:
      float32 [n, *event].

    Raises:
      InputError: an argument is out of range, the divergence needs another parameterisation, `ratio_fn` does not return
        one value per sample, or the flow diverges.
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
    except Exception as error:  # A user's function may raise anything.
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
        rows = np.minimum(first + np.arange(batch_size), count - 1)  # The last batch is filled up, and then cut.
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
