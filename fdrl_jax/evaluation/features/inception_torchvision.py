"""The feature space of the FIDs in the paper (arXiv 2303.03714): torchvision's Inception v3."""

import pathlib

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from fdrl_jax.evaluation.features import resize
from fdrl_jax.evaluation.features.feature_space import Examples, Features, check_images
from fdrl_jax.evaluation.features.inception_v3 import BATCH_SIZE, DIMENSION, SIZE, compiled_pooled, read_layers
from fdrl_jax.models.fixed_size_batches import in_batches


def inception_torchvision(weights: str | pathlib.Path, batch_size: int = BATCH_SIZE) -> Features:
    """Return the space "inception-torchvision": the 2048 pooled features of torchvision's Inception v3.

    The code of arXiv 2303.03714 passes pixels in [0, 1], not rounded, to torchvision's network. The scaling of these
    pixels follows pytorch-fid of the time when it used torchvision's weights, because that code descends from it. The
    distances are not FIDs, and are comparable only with those of the paper. `takes` is "float".

    Args:
      weights: inception_v3_google-0cc3c7bd.pth, or the same tensors in a .safetensors file.
      batch_size: number of images that the device processes at a time.

    Raises:
      InputError: the file cannot be read or belongs to another network.
    """
    layers, digest = read_layers(weights, "torchvision")

    def network(x: Shaped[Array, "n h w 3"]) -> Float[Array, "n 2048"]:
        return compiled_pooled(layers, _network_input(x), "torchvision")

    def apply(images: Examples) -> Float[np.ndarray, "n 2048"]:
        check_images("inception-torchvision", images, "float")
        return in_batches(network, images, batch_size, DIMENSION)

    protocol = (
        "pooled features of torchvision's inception_v3 (IMAGENET1K_V1), images in [0, 1] not rounded, bilinear resize "
        "to 299x299 with half-pixel centres and no antialias, torchvision's transform_input: as the paper's FIDs"
    )
    return Features("inception-torchvision", protocol, f"inception-torchvision-1-{digest}", apply, takes="float")


def _network_input(x: Shaped[Array, "n h w 3"]) -> Float[Array, "n 299 299 3"]:
    x = x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else (x + 1) / 2
    # torchvision's `transform_input` undoes a division by ImageNet's standard deviation. Nothing here makes that
    # division, but pytorch-fid applied `transform_input` all the same.
    scale = jnp.asarray([0.229, 0.224, 0.225]) / 0.5
    shift = (jnp.asarray([0.485, 0.456, 0.406]) - 0.5) / 0.5
    return resize.half_pixel(x, SIZE, SIZE) * scale + shift
