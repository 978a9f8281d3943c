"""Sneakers to ankle boots: unpaired translation between two classes of Fashion-MNIST. Not in the paper; as its Fig. 7.

    python main.py --config=configs/fashion_translation.py --workdir=runs/fashion-translation
    python main.py --mode=translate --workdir=runs/fashion-translation --input=FOLDER --out=FOLDER

Data: as in `fashion_mnist.py`. The 6,000 sneakers (class 7) are the prior, the 6,000 ankle boots (class 9) the data;
no sneaker has a boot of its own. 28x28, a small network, K = 20, 800 steps: minutes on 2 CPU cores. README has
pictures and figures; `python -m benchmarks.quality.translation` makes them.
"""

from ml_collections import ConfigDict

from configs.images import image_config

PATH = "data/fashion_mnist"
SNEAKER, BOOT = 7, 9


def get_config() -> ConfigDict:
    config = image_config(
        pairing="lsif-chi2",
        data=dict(name="idx", path=PATH, split="train", label=BOOT, image_size=28, channels=1, flip=False),
        prior=dict(name="dataset", path=PATH, part="0/1", label=SNEAKER),
        network="32",
        ratio_init=1.0,
        kappa=4,
    )
    config.ema_decay = 0.99
    config.model.update(stem=16, stages=((32, 1, 2), (64, 1, 2), (64, 1, 2)))
    config.flow.num_steps = 20
    config.optimizer.update(learning_rate=1e-3, decay_steps=(500,))
    config.train.update(num_steps=800, log_every=25, sample_every=100, checkpoint_every=200)
    config.diagnostics.update(every=200)
    return config
