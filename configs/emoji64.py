"""Google's emoji, 64x64: colour without a download that needs an account. Not in the paper.

    npm install --prefix data/emoji emoji-datasource-google@16.0.0
    python main.py --config=configs/emoji64.py --workdir=runs/emoji

3,786 drawings on white, the CelebA network and recipe, starting at r = 1, without flips (letters and digits are among
them). For a GPU; not run.
"""

from ml_collections import ConfigDict

from configs.images import DDP, image_config

FOLDER = "data/emoji/node_modules/emoji-datasource-{vendor}/img/{vendor}/64"


def get_config() -> ConfigDict:
    return image_config(
        pairing="lsif-chi2",
        # 62 of the files are grey.
        data=dict(name="folder", path=FOLDER.format(vendor="google"), image_size=64, transform="rgb", flip=False),
        prior=DDP,
        network="64",
        ratio_init=1.0,
    )
