"""The number of flow steps K against quality at equal FLOPs, on digits: a shorter flow leaves more training steps.

    python -m benchmarks.quality.ablations flow_length
    python main.py --config=configs/ablations/flow_length.py:k5 --workdir=runs/k5

Steps are of one size, eta = 3, so a shorter flow also reaches less far. Sampling adds a fifth of K, as
`configs/digits.py` does. The results are in `docs/ablations.md`.
"""

from ml_collections import ConfigDict

from configs.ablations import common
from configs.points import check_variant

VARIANTS = ("k10", "k2", "k5", "k20", "k40")  # The first is what the others are compared with.


def get_config(variant: str = "k10") -> ConfigDict:
    check_variant(variant, VARIANTS)
    flow_steps = int(variant.removeprefix("k"))
    config = common.base(common.equal_flops(flow_steps))
    config.flow.update(num_steps=flow_steps, kappa=round(common.KAPPA_SHARE * flow_steps))
    return config
