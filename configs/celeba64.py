"""CelebA, 64x64: Table 1 of arXiv 2303.03714, samples in its Fig. 4.

    python main.py --config=configs/celeba64.py --workdir=runs/celeba64
    python main.py --config=configs/celeba64.py:lr-kl --workdir=runs/celeba64-lr-kl

Data: img_align_celeba.zip (or the folder in it) and list_eval_partition.txt of
https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html in data/celeba. The 162,770 images of the train split, centre-cropped
to 140 and resized to 64.

Variants, with the paper's FID (50,000 samples, the authors' protocol): lsif-chi2 17.77, lr-kl 18.09.

Cost (`--mode=plan`): 9.3 TFLOP a step, 0.93 EFLOP the run; 2.6 hours at 100 TFLOP/s. Not run.
"""

from ml_collections import ConfigDict

from configs.images import DDP, image_config
from configs.points import check_variant

VARIANTS = ("lsif-chi2", "lr-kl")


def get_config(variant: str = "lsif-chi2") -> ConfigDict:
    check_variant(variant, VARIANTS)
    return image_config(
        pairing=variant,
        data=dict(
            name="celeba",
            path="data/celeba",
            split="train",
            image_size=64,
            transform="center_crop:140,resize:64",
        ),
        prior=DDP,
        network="64",
    )
