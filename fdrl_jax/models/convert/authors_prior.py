"""The authors' data-dependent prior, which they store as a pickled distribution of PyTorch."""

import math
import pathlib

import numpy as np
from jaxtyping import Float

from fdrl_jax.models.convert.torch_file import read_torch_file
from fdrl_jax.types import InputError
from fdrl_jax.utils.safe_pickle import Instance

_DISTRIBUTION = "torch.distributions.multivariate_normal.MultivariateNormal"


def read_ddp(
    path: str | pathlib.Path, event_shape: tuple[int, int, int] | None = None
) -> tuple[Float[np.ndarray, "h w c"], Float[np.ndarray, "d d"]]:
    """Read mean and covariance factor of the authors' data-dependent prior, a pickled MultivariateNormal.

    Their images are ordered by channel, row, column, ours by row, column, channel. The factor's rows are put in our
    order, so that it remains a root of the covariance but is no longer triangular.

    Args:
      path: file of `torch.save` or `pickle.dump`.
      event_shape: image shape [H, W, C]; by default square with three channels or one.

    Returns:
      float32 mean [H, W, C] and factor [D, D], D = H W C, for `priors.Gaussian`.

    Raises:
      InputError: the file cannot be read, is damaged, could run code, or holds something else.
    """
    content = read_torch_file(path, classes={_DISTRIBUTION})
    if not isinstance(content, Instance):
        kind = type(content).__name__
        raise InputError(f"{path} holds a {kind}, not a MultivariateNormal: is it the right file?")
    mean, factor = (content.attributes.get(name) for name in ("loc", "_unbroadcasted_scale_tril"))
    for name, value, rank in (("loc", mean, 1), ("_unbroadcasted_scale_tril", factor, 2)):
        if not isinstance(value, np.ndarray) or value.ndim != rank or value.dtype.kind != "f":
            raise InputError(f"{path} has no {name!r} of real numbers and {rank} axes: is it one prior, not a batch?")
        if not np.isfinite(value).all():
            raise InputError(f"{path} has numbers in {name!r} that are not finite: fit the prior again")
    assert isinstance(mean, np.ndarray)
    assert isinstance(factor, np.ndarray)
    if factor.shape != (len(mean), len(mean)):
        raise InputError(f"{path} has a mean of {len(mean)} numbers and a factor {list(factor.shape)}: fit it again")
    shape = _square(len(mean)) if event_shape is None else event_shape
    if shape is None or math.prod(shape) != len(mean):
        images = "square images of 3 channels or 1: pass event_shape=(H, W, C)"
        if shape is not None:
            images = f"images {list(shape)}: pass the prior of such images"
        raise InputError(f"{path} is over {len(mean)} numbers, not {images}")
    h, w, c = shape
    order = np.arange(len(mean)).reshape(c, h, w).transpose(1, 2, 0)
    return mean[order].astype(np.float32), factor[order.ravel()].astype(np.float32)


def _square(count: int) -> tuple[int, int, int] | None:
    """Return the shape [H, W, C] of square images of 3 channels, or else of 1, with `count` entries; None if none."""
    for channels in (3, 1):
        side = math.isqrt(count // channels)
        if channels * side * side == count:
            return side, side, channels
    return None
