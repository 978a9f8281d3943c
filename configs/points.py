"""What the 2-D data sets of Fig. 10 have in common: the four pairings of loss and divergence, at two lengths.

The paper's setting: MLP of 4 hidden layers of 64, batch 1024, K = 200, eta = 1, nu = 0.01, Adam 5e-5, 20,000 steps with
the rate times 0.1 at 5,000, 10,000 and 15,000. `quick`: K = 50, eta = 0.3, Adam 1e-3, 2,000 steps, starting at r = 1.
`python -m benchmarks.quality.points` trains them and measures the distance of their samples to the data.
"""

from ml_collections import ConfigDict, config_dict

PAIRINGS = {
    "lsif-chi2": ("lsif", "chi2"),
    "lr-kl": ("lr", "kl"),
    "lr-js": ("lr", "js"),
    "lr-logd": ("lr", "logd"),
}
VARIANTS = (*PAIRINGS, "quick", *(f"quick-{pairing}" for pairing in PAIRINGS))


def check_variant(variant: str, variants: tuple[str, ...]) -> None:
    if variant not in variants:
        raise ValueError(f"variant {variant!r} must be one of {', '.join(variants)}")


def points_config(name: str, variant: str) -> ConfigDict:
    """The config of data set `name`: a pairing, with or without `quick-` before it; `quick` alone is LSIF-chi2."""
    check_variant(variant, VARIANTS)
    quick = variant.startswith("quick")
    loss, divergence = PAIRINGS[variant.removeprefix("quick").removeprefix("-") or "lsif-chi2"]
    config = ConfigDict(
        dict(
            seed=0,
            loss=loss,
            divergence=divergence,
            ema_decay=0.998,
            precision="float32",
            data=dict(name=name, batch_size=1024),
            prior=dict(name="normal", scale=1.0),
            # A placeholder, so that --config.model.ratio_init=1.0 is accepted on the command line.
            model=dict(name="mlp", width=(64, 64, 64, 64), ratio_init=config_dict.placeholder(float)),
            flow=dict(num_steps=200, kappa=0, step_size=1.0, noise=1e-2, guided=True),
            optimizer=dict(learning_rate=5e-5, decay_steps=(5_000, 10_000, 15_000), decay_factor=0.1, b1=0.9, b2=0.999),
            train=dict(
                num_steps=20_000,
                log_every=100,
                sample_every=2_000,
                checkpoint_every=2_000,
                keep=2,
                on_divergence="stop",
                sample_range=1e3,
                spike=1e3,
                max_rollbacks=3,
                rollback_rate=0.5,
            ),
            diagnostics=dict(every=2_000, num_samples=2_000, best="sliced_wasserstein"),
        )
    )
    if quick:
        config.model.ratio_init = 1.0
        config.flow.update(num_steps=50, step_size=0.3)
        config.optimizer.update(learning_rate=1e-3, decay_steps=())
        config.train.update(num_steps=2_000, log_every=50, sample_every=500, checkpoint_every=500)
        config.diagnostics.every = 500
    return config
