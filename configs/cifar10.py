"""CIFAR-10, 32x32: Table 1 of arXiv 2303.03714, samples in its Fig. 4.

    python main.py --config=configs/cifar10.py --workdir=runs/cifar10
    python main.py --config=configs/cifar10.py:uniform-lr-kl --workdir=runs/cifar10-uniform

Data: cifar-10-python.tar.gz or cifar-10-binary.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html in data/cifar10,
packed or unpacked.

Variants, with the paper's FID (50,000 samples, the authors' protocol):

    lsif-chi2  22.28    lr-kl  22.61    lr-js  22.80    lr-logd  22.82     data-dependent prior, 100,000 steps, kappa 20
    uniform-lsif-chi2  30.23    uniform-lr-kl  31.99                       uniform prior, 120,000 steps, kappa 10

The paper says that spectral norm was not needed; the authors' configs switch it on for CIFAR-10. So do these;
`-no-sn` after any variant's name switches it off.

Cost (`--mode=plan`): 50 TFLOP a step, 5.0 EFLOP the run; 14 hours at 100 TFLOP/s. Not run.
"""

from ml_collections import ConfigDict

from configs.images import DDP, image_config
from configs.points import PAIRINGS, check_variant

_WITH_SN = (*PAIRINGS, "uniform-lsif-chi2", "uniform-lr-kl")
VARIANTS = (*_WITH_SN, *(f"{variant}-no-sn" for variant in _WITH_SN))


def get_config(variant: str = "lsif-chi2") -> ConfigDict:
    check_variant(variant, VARIANTS)
    uniform = variant.startswith("uniform-")
    return image_config(
        pairing=variant.removeprefix("uniform-").removesuffix("-no-sn"),
        data=dict(name="cifar10", path="data/cifar10", split="train", image_size=32),
        prior=dict(name="uniform") if uniform else DDP,
        network="32",
        spectral_norm=not variant.endswith("-no-sn"),
        kappa=10 if uniform else 20,
        num_steps=120_000 if uniform else 100_000,
    )
