"""Google's emoji to Twitter's, 64x64: unpaired translation whose truth is known by file name. Not in the paper.

    npm install --prefix data/emoji emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0
    python main.py --config=configs/emoji_translation64.py --workdir=runs/emoji-translation

Trained on disjoint halves: the even Google files are the prior, the odd Twitter files the data, so that no emoji is
seen in both styles. The Cat2dog network and recipe, starting at r = 1. For a GPU; not run.
"""

from ml_collections import ConfigDict

from configs.emoji64 import FOLDER
from configs.images import image_config


def get_config() -> ConfigDict:
    return image_config(
        pairing="lsif-chi2",
        # Of Google's files 62 are grey.
        data=dict(
            name="folder",
            path=FOLDER.format(vendor="twitter"),
            image_size=64,
            transform="rgb",
            flip=False,
            part="1/2",
        ),
        prior=dict(name="dataset", path=FOLDER.format(vendor="google"), part="0/2"),
        network="64-shallow",
        attention=2,
        spectral_norm=True,
        ratio_init=1.0,
        kappa=10,
        num_steps=40_000,
        decay_steps=(20_000, 30_000),
    )
