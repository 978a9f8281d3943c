"""Does the network in bfloat16 cost quality? On digits; not in the paper.

    python -m benchmarks.quality.ablations precision
    python main.py --config=configs/ablations/precision.py:bf16 --workdir=runs/bf16

`bf16` runs the network in bfloat16; parameters, particles and updates stay float32. The same seeds, so the same data,
draws and noise. The question is whether the difference is within that between seeds.
"""

from ml_collections import ConfigDict

from configs.ablations import common
from configs.points import check_variant

VARIANTS = ("float32", "bf16")


def get_config(variant: str = "float32") -> ConfigDict:
    check_variant(variant, VARIANTS)
    config = common.base()
    config.precision = variant
    return config
