"""Data-dependent prior (Eq. 8) against the uniform one (Table 1), on digits.

    python -m benchmarks.quality.ablations prior
    python main.py --config=configs/ablations/prior.py:uniform --workdir=runs/uniform

The results are in `docs/ablations.md`.
"""

from ml_collections import ConfigDict

from configs.ablations import common
from configs.points import check_variant

VARIANTS = ("ddp", "uniform")


def get_config(variant: str = "ddp") -> ConfigDict:
    check_variant(variant, VARIANTS)
    config = common.base()
    if variant == "uniform":
        config.prior = ConfigDict(dict(name="uniform"))
    return config
