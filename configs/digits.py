"""scikit-learn's handwritten digits, 8x8, from a Gaussian fitted to them: the run of `make demo`.

1500 images are trained on; 297 are held out for diagnostics and as a check of memorisation.

    python main.py --config=configs/digits.py --workdir=runs/digits

Not in the paper: its recipe (Appendix F) at the size of a laptop. Against the paper's settings it starts at r = 1, runs
K = 10 instead of 100, and learns ten times faster for 2,000 steps instead of 100,000. Expect k-NN precision and recall
in pixels of about 0.91 and 0.85 (README; `python -m benchmarks.quality.digits` prints them) after two to three minutes
on 2 CPU cores.

Do not shorten the flow and raise the rate at once: with --config.flow.num_steps=5 --config.optimizer.learning_rate=2e-3
the gradient norm in metrics.jsonl jumped from 0.2 to 0.6 around step 1,300, and precision ended at 0.36.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return ConfigDict(
        dict(
            seed=0,
            loss="lsif",
            divergence="chi2",
            ema_decay=0.99,
            precision="float32",
            data=dict(
                name="digits", image_size=8, channels=1, batch_size=64, flip=False, dequantize_sigma=0.03, holdout=297
            ),
            prior=dict(name="ddp", rank=0, jitter=1e-4),
            model=dict(
                name="resnet",
                stem=32,
                stages=((32, 1, 2), (64, 1, 1), (64, 1, 2)),
                attention=0,
                spectral_norm=False,
                ratio_init=1.0,
            ),
            flow=dict(num_steps=10, kappa=2, step_size=3.0, noise=1e-2, guided=True),
            optimizer=dict(learning_rate=1e-3, decay_steps=(1500,), decay_factor=0.1, b1=0.9, b2=0.999),
            train=dict(
                num_steps=2000,
                log_every=50,
                sample_every=500,
                checkpoint_every=500,
                keep=2,
                on_divergence="stop",
                sample_range=1e3,
                spike=1e3,
                max_rollbacks=3,
                rollback_rate=0.5,
            ),
            diagnostics=dict(every=250, num_samples=297, best="frechet"),
        )
    )
