"""The ratio of a generator to the data, fitted without a flow, for a generator that has no discriminator."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from fdrl_jax.data import ArrayDataset
from fdrl_jax.losses import LOSSES, PARAMETERISATION
from fdrl_jax.methods import train_state
from fdrl_jax.methods.fdrl_train_step import Recipe, make_train_step
from fdrl_jax.models import Estimator
from fdrl_jax.priors import Prior
from fdrl_jax.types import InputError, RatioFn
from fdrl_jax.utils import rng


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
    """Fit the ratio of a generator to data with the stale estimator of section 3.1 of arXiv 2303.03714, without a flow.

    The training step is that of FDRL with `guided = False`. The optimiser is Adam (0.9, 0.999); the returned ratio has
    the averaged (EMA) parameters.

    Args:
      data: examples of p, uint8 images or floats. For DGflow's corrector, samples of the other generator.
      prior: distribution q of the generator, a `priors.GeneratorPrior` or any other prior.
      network: network of the ratio, from `models.estimator`; its parameterisation must be that of the loss.
      seed: seed of the initial parameters, the batches and the draws.
      loss: name of a loss in `losses.LOSSES`.
      num_steps: number of training steps.
      batch_size: number of examples per step.
      learning_rate: learning rate of Adam.
      dequantize_sigma: standard deviation of Gaussian noise added to the data, in units of pixels in [-1, 1].
      ema_decay: decay of the parameters' exponential moving average.

    Returns:
      The function from particles to r or log r, by the parameterisation of the loss.

    Raises:
      InputError: the loss is unknown or does not fit the network, there are fewer examples than a batch has, or the
        training diverged.
    """
    if PARAMETERISATION.get(loss) != network.parameterisation:
        fits = ", ".join(name for name, output in PARAMETERISATION.items() if output == network.parameterisation)
        raise InputError(
            f"loss = {loss!r} is not for a network that outputs the {network.parameterisation}: use {fits}"
        )
    if len(data) < batch_size:
        raise InputError(f"batch_size = {batch_size} is more than the {len(data)} examples")
    recipe = Recipe(
        estimator=network,
        loss=LOSSES[loss],
        f_prime=_identity,  # Not used, because there is no flow.
        num_steps=0,
        step_size=1.0,
        noise=0.0,
        guided=False,
        dequantize_sigma=dequantize_sigma,
        ema_decay=ema_decay,
    )
    optimizer = train_state.adam(train_state.learning_rate_schedule(learning_rate, (), 1.0), 0.9, 0.999)
    root = jax.random.key(seed)
    params = network.init(rng.stream(root, "init"))
    state = train_state.create_state(params, optimizer, network.init_spectral(rng.stream(root, "spectral"), params))
    train_step = make_train_step(recipe, optimizer)
    batches = ArrayDataset(data, flip=False)
    for step in range(num_steps):
        state, metrics = train_step(state, prior, root, jnp.asarray(batches.batch(seed, step, batch_size)))
    if num_steps and not np.isfinite(metrics["loss"]):
        raise InputError(f"the ratio's training diverged: use a smaller learning_rate than {learning_rate}")
    return network.ratio_fn(network.effective(state.ema_params, state.spectral))


def _identity(output: Float[Array, "..."]) -> Float[Array, "..."]:
    return output
