"""Does the flow in training matter? The paper's central claim (sections 3.1 and 3.2), on digits.

    python -m benchmarks.quality.ablations guidance
    python main.py --config=configs/ablations/guidance.py:stale --workdir=runs/stale

`fdrl` trains the ratio on the particles as they flow, `stale` on the prior's draws alone (Fig. 2); both are sampled the
same way. A stale step is cheaper, so `stale-equal-flops` takes more of them, at the cost of the whole `fdrl` run.
The results are in `docs/ablations.md`.
"""

from ml_collections import ConfigDict

from configs.ablations import common
from configs.points import check_variant

VARIANTS = ("fdrl", "stale", "stale-equal-flops")


def get_config(variant: str = "fdrl") -> ConfigDict:
    check_variant(variant, VARIANTS)
    config = common.base(common.equal_flops(0) if variant == "stale-equal-flops" else common.NUM_STEPS)
    config.flow.guided = variant == "fdrl"
    return config
