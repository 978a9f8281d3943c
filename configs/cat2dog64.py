"""Cats to dogs, 64x64: Fig. 7 and Table 4 of arXiv 2303.03714, unpaired image-to-image translation.

    python main.py --config=configs/cat2dog64.py --workdir=runs/cat2dog

Data: cat2dog of https://github.com/HsinYingLee/DRIT, unpacked as data/cat2dog with trainA (771 cats) and trainB (1,264
dogs), and 100 of each in testA and testB. Resized to 84, centre-cropped to 64.

The cats are the prior, the dogs the data; the shallow network of Table 3 with self-attention and spectral norm;
40,000 steps, because later it diverges. The paper's FID: 108.10 (100 translated test cats against 100 test dogs).

Cost (`--mode=plan`): 4.6 TFLOP a step, 0.18 EFLOP the run; half an hour at 100 TFLOP/s. Not run.
"""

from ml_collections import ConfigDict

from configs.images import image_config


def get_config() -> ConfigDict:
    return image_config(
        pairing="lsif-chi2",
        data=dict(name="folder", path="data/cat2dog/trainB", image_size=64, transform="resize:84x84,center_crop:64"),
        prior=dict(name="dataset", path="data/cat2dog/trainA", part="0/1"),
        network="64-shallow",
        attention=2,
        spectral_norm=True,
        kappa=10,
        num_steps=40_000,
        decay_steps=(20_000, 30_000),
    )
