"""The feature space of the standard FID (Heusel et al., arXiv 1706.08500): the Inception v3 of 2015."""

import pathlib

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from fdrl_jax.evaluation.features import resize
from fdrl_jax.evaluation.features.feature_space import Examples, Features, check_images
from fdrl_jax.evaluation.features.inception_v3 import BATCH_SIZE, DIMENSION, SIZE, compiled_pooled, read_layers
from fdrl_jax.models.fixed_size_batches import in_batches


def inception_fid(weights: str | pathlib.Path, batch_size: int = BATCH_SIZE) -> Features:
    """Return the space "inception": the 2048 pooled features that FID is defined with. `takes` is "uint8".

    Args:
      weights: pt_inception-2015-12-05-6726825d.pth, or the same tensors in a .safetensors file.
      batch_size: number of images that the device processes at a time.

    Raises:
      InputError: the file cannot be read or belongs to another network.
    """
    layers, digest = read_layers(weights, "fid")

    def apply(images: Examples) -> Float[np.ndarray, "n 2048"]:
        check_images("inception", images, "uint8")
        return in_batches(lambda x: compiled_pooled(layers, _network_input(x), "fid"), images, batch_size, DIMENSION)

    protocol = (
        "pooled features of the FID Inception v3 of 2015-12-05, images in 8 bits, TensorFlow 1's bilinear resize to "
        "299x299 (no half pixel, no antialias), (x - 128) / 128: as pytorch-fid's weights in torch-fidelity"
    )
    return Features("inception", protocol, f"inception-1-{digest}", apply)


def _network_input(x: Shaped[Array, "n h w 3"]) -> Float[Array, "n 299 299 3"]:
    return (resize.tensorflow1(x.astype(jnp.float32), SIZE, SIZE) - 128) / 128
