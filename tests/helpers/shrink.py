"""Shipped configs cut down so that a test can train them in seconds: the same data, prior, pairing and code path."""

import pathlib
import re

import tiny_data
from ml_collections import ConfigDict

import fdrl_jax
from configs import digits, gaussians
from fdrl_jax.training.loop import train


def shrink(config: ConfigDict, num_steps: int = 4, folder: pathlib.Path | None = None) -> ConfigDict:
    """A few training steps of a small network, K = 3, everything logged and saved on the way.

    Data from files becomes a few images in the same kind of files, written to `folder`, and small in pixels.
    """
    config = config.copy_and_resolve_references()
    config.data.batch_size = 16
    config.flow.num_steps = 3
    if config.model.name == "resnet":
        config.model.stem = 4
        config.model.stages = ((4, 1, 1), (8, 1, 2))
    else:
        config.model.width = (8, 8)
    if "path" in config.data:
        assert folder is not None, "where to write the images"
        config.data.cache = str(folder / "cache")
        for name, group in (("data", config.data), ("prior", config.prior)):
            if "path" in group:
                tiny_data.write(config.data.name, folder / name, group.get("label", 0))
                group.path = str(folder / name)
                group.part = "0/1"  # All of the few.
        if config.data.image_size > 32:
            config.data.image_size = 16
            spec = config.data.transform
            if not re.search(r"\d$", spec):  # "" or "rgb": of images that have the size already.
                spec = f"{spec},resize:64".removeprefix(",")
            config.data.transform = re.sub(r"\d+(x\d+)?$", lambda m: "16x16" if m[1] else "16", spec)
    if "diagnostics" in config:
        config.diagnostics.update(every=num_steps, num_samples=16)
    config.train.update(num_steps=num_steps, log_every=1, sample_every=num_steps, checkpoint_every=2)
    return config


def tiny_points(**kwargs: int) -> ConfigDict:
    return shrink(gaussians.get_config("far-fdrl"), **kwargs)


def tiny_digits(**kwargs: int) -> ConfigDict:
    return shrink(digits.get_config(), **kwargs)


def trained(config: ConfigDict, workdir: pathlib.Path) -> fdrl_jax.Model:
    return train(config, workdir, progress=False)
