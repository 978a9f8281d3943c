"""scikit-learn's handwritten digits, 1797 images of 8x8: the run of `make demo`."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            seed=0,
            loss="lsif",
            divergence="chi2",
            ema_decay=0.99,
            precision="float32",
            data=dict(name="digits", image_size=8, channels=1, batch_size=64, flip=False, dequantize_sigma=0.03),
            prior=dict(name="ddp", rank=0, jitter=1e-4),
            model=dict(name="resnet", stem=24, stages=((24, 1, 1), (48, 1, 2), (48, 1, 2)), ratio_init=1.0),
            flow=dict(num_steps=10, kappa=2, step_size=3.0, noise=1e-2, guided=True),
            optimizer=dict(learning_rate=1e-3, decay_steps=(), decay_factor=0.1, b1=0.9, b2=0.999),
            train=dict(num_steps=3000, log_every=50, sample_every=500, checkpoint_every=500, keep=2),
        )
    )
