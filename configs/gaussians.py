"""One Gaussian to another in the plane: the density chasm of Fig. 2 and 3 of arXiv 2303.03714.

Source N(0, 0.1 I). Variants:

    near-stale  target N(1, 0.1 I), ratio trained on prior draws alone, flowed K = 15 steps: arrives    Fig. 2a
    far-stale   target N(6, 0.1 I), the same with K = 400: stops or strays between the two              Fig. 2b
    far-fdrl    target N(6, 0.1 I), ratio trained on flowed samples, K = 400: arrives                   Fig. 3

    python main.py --config=configs/gaussians.py:far-fdrl --workdir=runs/far-fdrl

The paper gives K and the 1000 training steps, not the divergence or the step size. Here all three use LR-logD with
eta = 0.08 and nu = 0.01: logD's velocity r/(1+r) grad log r dies out where r is small, so that particles that arrive
stay. (LR-KL moves at constant speed: with eta = 0.3 it carries the near particles 20 units past their target.)
Less than a minute each on 2 CPU cores. `python -m benchmarks.gaussians` trains all three and draws both figures.
"""

import math

from ml_collections import ConfigDict

VARIANTS = {"near-stale": (1.0, 15, False), "far-stale": (6.0, 400, False), "far-fdrl": (6.0, 400, True)}


def get_config(variant: str = "far-fdrl") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"variant {variant!r} must be one of {', '.join(VARIANTS)}")
    mean, num_steps, guided = VARIANTS[variant]
    return ConfigDict(
        dict(
            seed=0,
            loss="lr",
            divergence="logd",
            ema_decay=0.99,
            precision="float32",
            data=dict(name="gaussian", mean=(mean, mean), variance=0.1, batch_size=256),
            prior=dict(name="normal", scale=math.sqrt(0.1)),
            model=dict(name="mlp", width=(64, 64, 64), ratio_init=1.0),
            flow=dict(num_steps=num_steps, kappa=0, step_size=0.08, noise=1e-2, guided=guided),
            optimizer=dict(learning_rate=1e-3, decay_steps=(), decay_factor=0.1, b1=0.9, b2=0.999),
            train=dict(num_steps=1000, log_every=50, sample_every=250, checkpoint_every=250, keep=2),
        )
    )
