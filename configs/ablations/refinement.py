"""K + kappa steps of sampling against K (section 4.2, Fig. 5), on digits: one training, sampled with each kappa.

    python -m benchmarks.quality.ablations refinement
    python main.py --config=configs/ablations/refinement.py:kappa5 --workdir=runs/kappa5

The results are in `docs/ablations.md`.
"""

from ml_collections import ConfigDict

from configs.ablations import common
from configs.points import check_variant

VARIANTS = ("kappa0", "kappa1", "kappa2", "kappa5", "kappa10", "kappa20", "kappa60")


def get_config(variant: str = "kappa2") -> ConfigDict:
    check_variant(variant, VARIANTS)
    config = common.base()
    config.flow.kappa = int(variant.removeprefix("kappa"))
    return config
