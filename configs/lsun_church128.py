"""LSUN Church, 128x128: Fig. 4, 8 and 20 of arXiv 2303.03714 (LSIF-chi2; the paper gives no FID).

    python main.py --config=configs/lsun_church128.py --workdir=runs/church

Data: church_outdoor_train_lmdb.zip, fetched with https://github.com/fyu/lsun and unpacked, as
data/church_outdoor_train_lmdb. Its 126,227 images are resized straight to 128x128; the aspect ratio is not kept.

The prior's exact factor is 9.7 GB, which a GPU or TPU holds beside the network only if it is large enough; see what
`--mode=plan` says. --config.prior.rank=1024 makes it 0.2 GB.

Cost (`--mode=plan`): 23 TFLOP a step, 2.3 EFLOP the run; 6.4 hours at 100 TFLOP/s. Not run.
"""

from ml_collections import ConfigDict

from configs.images import DDP, image_config


def get_config() -> ConfigDict:
    return image_config(
        pairing="lsif-chi2",
        data=dict(name="lsun", path="data/church_outdoor_train_lmdb", image_size=128, transform="resize:128x128"),
        prior=DDP,
        network="128",
    )
