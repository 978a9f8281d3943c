"""Fashion-MNIST, padded to 32x32: 60,000 photographs of clothes. Not in the paper.

    python main.py --config=configs/fashion_mnist.py:cpu --workdir=runs/fashion
    python main.py --config=configs/fashion_mnist.py --workdir=runs/fashion-full

Data: the IDX files of https://github.com/zalandoresearch/fashion-mnist in data/fashion_mnist. On Debian and Ubuntu,
`apt-get install dataset-fashion-mnist` puts them where --config.data.path=/usr/share/datasets/fashion-mnist finds them.

Variants:

    full  the paper's CIFAR-10 recipe, for a GPU, starting at r = 1. Not run
    cpu   LR-KL, a small network, K = 20, 4,000 steps, the first 2,500 at ten times the rate; README has samples and
          figures. LSIF-chi2, whose flow goes twice as far a step, was stable for 1,000 steps at that rate

Do not shorten the cpu variant's flow to K = 10. At the rate of 1e-3 throughout, LSIF-chi2 then diverged at step 2,900
(a loss of -3,421, after warnings near 1,000 and 2,200), with spectral norm at 900, and LR-KL at 5e-4 at 450. Each step
of the flow moves an image a tenth of the way, overshoots where the ratio is steep, and the network learns from what
flew away. The gradient norm in metrics.jsonl rises first. (One run each, not kept.)
"""

from ml_collections import ConfigDict

from configs.images import DDP, image_config
from configs.points import check_variant

VARIANTS = ("full", "cpu")


def get_config(variant: str = "full") -> ConfigDict:
    check_variant(variant, VARIANTS)
    config = image_config(
        pairing="lr-kl" if variant == "cpu" else "lsif-chi2",
        data=dict(
            name="idx",
            path="data/fashion_mnist",
            split="train",
            image_size=32,
            channels=1,
            transform="pad:32",
            flip=False,  # Shoes all point the same way.
        ),
        prior=DDP,
        network="32",
        ratio_init=1.0,
    )
    if variant == "cpu":
        config.ema_decay = 0.995
        config.model.update(stem=16, stages=((32, 1, 2), (64, 1, 2), (64, 2, 2)))
        config.flow.update(num_steps=20, kappa=4)
        config.optimizer.update(learning_rate=1e-3, decay_steps=(2_500,))
        config.train.update(num_steps=4_000, log_every=50, sample_every=250, checkpoint_every=250)
        config.diagnostics.update(every=250, best="frechet")
    return config
