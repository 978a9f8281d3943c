"""What the paper's image experiments have in common (Appendix F): its recipe, pairings and networks.

Batch 64; Adam 1e-4 (0.9, 0.999), times 0.1 when 20,000 and again when 10,000 steps remain; EMA 0.998; K = 100, eta = 3,
nu = 0.01; noise of 0.03 on the data; the network as PyTorch initialises it.
"""

from typing import Any

from ml_collections import ConfigDict, config_dict

from configs.points import PAIRINGS

# Table 3: stem and stages of (width, blocks, stride of the first block).
NETWORKS = {
    "32": dict(stem=128, stages=((128, 3, 1), (256, 3, 2), (256, 3, 2), (256, 3, 2))),
    "64": dict(stem=64, stages=((64, 1, 2), (128, 2, 2), (256, 2, 2), (256, 2, 2))),
    "64-shallow": dict(stem=64, stages=((64, 1, 2), (128, 1, 2), (128, 1, 2), (256, 1, 2))),
    "128": dict(stem=64, stages=((64, 1, 2), (128, 1, 2), (128, 2, 2), (256, 2, 2), (256, 2, 2))),
}

DDP = dict(name="ddp", rank=0, jitter=1e-4)


def image_config(
    *,
    pairing: str,
    data: dict[str, Any],
    prior: dict[str, Any],
    network: str,
    attention: int = 0,
    spectral_norm: bool = False,
    ratio_init: float | None = None,
    kappa: int = 20,
    num_steps: int = 100_000,
    decay_steps: tuple[int, ...] | None = None,
) -> ConfigDict:
    """The paper's recipe for a data set, a prior and a network of Table 3.

    `data` gives what has no default: name, path, image_size, and split where the data set has one.
    """
    loss, divergence = PAIRINGS[pairing]
    # A placeholder, so that --config.model.ratio_init=1.0 is accepted on the command line.
    ratio_init = config_dict.placeholder(float) if ratio_init is None else ratio_init
    return ConfigDict(
        dict(
            seed=0,
            loss=loss,
            divergence=divergence,
            ema_decay=0.998,
            precision="float32",
            data=dict(
                cache="data/cache",
                transform="",
                channels=3,
                batch_size=64,
                flip=True,
                dequantize_sigma=0.03,
                on_error="stop",
                part="0/1",
            )
            | data,
            prior=prior,
            model=dict(
                name="resnet",
                **NETWORKS[network],
                attention=attention,
                spectral_norm=spectral_norm,
                ratio_init=ratio_init,
            ),
            flow=dict(num_steps=100, kappa=kappa, step_size=3.0, noise=1e-2, guided=True),
            optimizer=dict(
                learning_rate=1e-4,
                decay_steps=decay_steps or (num_steps - 20_000, num_steps - 10_000),
                decay_factor=0.1,
                b1=0.9,
                b2=0.999,
            ),
            # A microbatch of 0 is a device's whole share of the batch; fewer examples at a time take less memory.
            train=dict(
                num_steps=num_steps,
                log_every=100,
                sample_every=1_000,
                checkpoint_every=1_000,
                keep=2,
                microbatch=0,
                on_divergence="stop",
                sample_range=1e3,
                spike=1e3,
                max_rollbacks=3,
                rollback_rate=0.5,
            ),
            diagnostics=dict(every=5_000, num_samples=500, best=""),
        )
    )
