"""The form of a classifier: a differentiable function from images to logits, with its parameters."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fdrl_jax.types import InputError, Params, Particles
from fdrl_jax.utils.compilation import Program

Logits = Float[Array, "batch classes"]


def _identity(params: Params) -> Params:
    return params


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A differentiable function from images to logits.

    Attributes:
      apply: function (parameters, images [batch, H, W, C] in [-1, 1]) -> logits [batch, classes], which treats each
        image independently. The images of a flow leave [-1, 1] a little.
      params: parameters of `apply`; {} for a function that has none.
      name: name of the classifier in error messages.
      event_shape: shape (H, W, C) of the images that the classifier was trained on; None if `apply` takes several.
      prepare: function from the parameters to a form with which `apply` is faster, called once for a whole flow.
    """

    apply: Callable[[Params, Particles], Logits] = dataclasses.field(repr=False)
    params: Params = dataclasses.field(repr=False)
    name: str = "classifier"
    event_shape: tuple[int, ...] | None = None
    prepare: Callable[[Params], Params] = dataclasses.field(default=_identity, repr=False)

    def __call__(self, x: Particles) -> Logits:
        """Return logits [batch, classes] for images [batch, H, W, C] in [-1, 1]."""
        return _logits(self.apply, self.params, jnp.asarray(x))

    def num_classes(self, event_shape: tuple[int, ...]) -> int:
        """Return the number of classes for images of shape `event_shape`, without computing any logits.

        Raises:
          InputError: the classifier does not take such images, or does not return one row of logits per image.
        """
        if self.event_shape not in (None, event_shape):
            raise InputError(
                f"classifier {self.name} was trained on images {list(self.event_shape or ())}, not "
                f"{list(event_shape)}: use one that was trained on such images"
            )
        images = jax.ShapeDtypeStruct((5, *event_shape), jnp.float32)
        try:
            out = jax.eval_shape(self.apply, self.params, images)
        except Exception as error:  # A user's function may raise anything.
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"classifier {self.name} cannot take images {list(event_shape)} ({type(error).__name__}: {reason}): "
                "use one for such images, written in jax.numpy"
            ) from error
        shape: tuple[int, ...] = getattr(out, "shape", ())
        dtype = getattr(out, "dtype", np.dtype(object))
        if len(shape) != 2 or shape[0] != 5 or shape[1] < 2 or not jnp.issubdtype(dtype, jnp.floating):
            raise InputError(
                f"classifier {self.name} gives {dtype} {list(shape)} for 5 images, not float logits [5, classes]"
            )
        return int(shape[1])


_logits = Program(lambda apply, params, x: apply(params, x), static_argnames=("apply",))


@dataclasses.dataclass(frozen=True)
class _WithoutParams:
    """A function of images in the form of `Classifier.apply`, which ignores the parameters."""

    function: Callable[[Particles], Logits]

    # The return type is Any because a user's function may return anything; `Classifier.num_classes` checks it.
    def __call__(self, _: Params, x: Particles) -> Any:
        return self.function(x)


def classifier_from_function(function: Callable[[Particles], Logits], name: str = "function") -> Classifier:
    """Return a classifier without parameters.

    Args:
      function: function in jax.numpy from images [batch, H, W, C] in [-1, 1] to logits [batch, classes].
      name: name of the classifier in error messages.
    """
    return Classifier(_WithoutParams(function), {}, name)
