"""Each loss with each divergence it can drive (Table 1 has four of them), on digits.

    python -m benchmarks.quality.ablations pairing
    python main.py --config=configs/ablations/pairing.py:lr-kl --workdir=runs/lr-kl

The step size is that of LSIF-chi2 for all; it was tuned for none. The results are in `docs/ablations.md`.
"""

from ml_collections import ConfigDict

from configs.ablations import common
from configs.points import check_variant

VARIANTS = (
    "lsif-chi2",
    *(f"lr-{divergence}" for divergence in ("chi2", "kl", "js", "logd", "jeffrey")),
    "kliep-kl",
)


def get_config(variant: str = "lsif-chi2") -> ConfigDict:
    check_variant(variant, VARIANTS)
    config = common.base()
    config.loss, config.divergence = variant.split("-")
    return config
