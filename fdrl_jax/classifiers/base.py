"""A classifier as a function of images, and the ratio function of one class that it makes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int64

from fdrl_jax import compose, sharding
from fdrl_jax.programs import Program
from fdrl_jax.types import InputError, Parameterisation, Params, Particles, RatioFn

Logits = Float[Array, "batch classes"]


def _as_they_are(params: Params) -> Params:
    return params


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A differentiable function from images to logits.

    Attributes:
      apply: (parameters, images [batch, H, W, C] in [-1, 1]) -> logits [batch, classes]; each image by itself. The
        images of a flow leave [-1, 1] a little.
      params: its arrays; {} for a function that keeps them itself.
      name: for messages.
      event_shape: of the images it was trained on, (H, W, C); None where any of a size will do that `apply` takes.
      prepare: parameters -> those that `apply` is faster with, computed once for a whole flow.
    """

    apply: Callable[[Params, Particles], Logits] = dataclasses.field(repr=False)
    params: Params = dataclasses.field(repr=False)
    name: str = "classifier"
    event_shape: tuple[int, ...] | None = None
    prepare: Callable[[Params], Params] = dataclasses.field(default=_as_they_are, repr=False)

    def __call__(self, x: Particles) -> Logits:
        """Logits [batch, classes] of images [batch, H, W, C] in [-1, 1]."""
        return _logits(self.apply, self.params, jnp.asarray(x))

    def num_classes(self, event_shape: tuple[int, ...]) -> int:
        """How many classes it tells images of that shape apart by. Nothing is computed.

        Raises:
          InputError: it does not take such images, or does not give one row of logits an image.
        """
        if self.event_shape not in (None, event_shape):
            raise InputError(
                f"classifier {self.name} knows images {list(self.event_shape or ())}, and these are "
                f"{list(event_shape)}: use one that was trained on such images"
            )
        images = jax.ShapeDtypeStruct((5, *event_shape), jnp.float32)
        try:
            out = jax.eval_shape(self.apply, self.params, images)
        except Exception as error:  # Whatever a user's function raises.
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
class _Plain:
    """A function of images as one of parameters, of which there are none, and images."""

    function: Callable[[Particles], Logits]

    def __call__(self, _: Params, x: Particles) -> Any:  # `Classifier.num_classes` checks what it is.
        return self.function(x)


def of_function(function: Callable[[Particles], Logits], name: str = "function") -> Classifier:
    """A function from images [batch, H, W, C] in [-1, 1] to logits [batch, classes], in jax.numpy, as a classifier."""
    return Classifier(_Plain(function), {}, name)


@dataclasses.dataclass(frozen=True)
class _OfClass:
    """`steps.Change`: from r(x) to r(x | y). Two of them are equal where they compile to the same."""

    apply: Callable[[Params, Particles], Logits]
    prepare: Callable[[Params], Params]
    parameterisation: Parameterisation

    def __call__(self, ratio_fn: RatioFn, arguments: tuple[Params, Int[Array, " batch"], Float[Array, ""]]) -> RatioFn:
        params, labels, scale = arguments
        params = self.prepare(params)  # Here, once, rather than in every step of the flow.
        return compose.class_conditional(
            ratio_fn,
            lambda x: jax.nn.log_softmax(self.apply(params, x)),
            labels,
            scale,
            parameterisation=self.parameterisation,
            at_step=False,  # Where p is small the power is large, and the flow of an LSIF network flies off.
        )


@dataclasses.dataclass(frozen=True)
class Condition:
    """The classes that a sampling run asks for; `condition` makes one.

    Attributes:
      classifier: that knows them.
      labels: of sample 0, 1, ..., int64.
      scale: phi.
      candidates: how many prior draws a sample is started from the likeliest of; see `start`.
    """

    classifier: Classifier
    labels: Int64[np.ndarray, " num_samples"]
    scale: float
    candidates: int = 1

    def change(self, parameterisation: Parameterisation, first: int, count: int) -> dict[str, Any]:
        """Arguments `change` and `arguments` of `steps.advance` for samples first, ..., first + count - 1.

        Beyond the last sample labels repeat: the last batch is computed whole.
        """
        scale = jnp.asarray(self.scale, jnp.float32)
        arguments = (self.classifier.params, self._labels(first, count), scale)
        return {
            "change": _OfClass(self.classifier.apply, self.classifier.prepare, parameterisation),
            "arguments": arguments,
        }

    def start(self, draw: Callable[[int], Particles], first: int, count: int) -> Particles:
        """Of `candidates` prior draws for each of samples first, ..., first + count - 1 the likeliest of its class.

        The flow moves a draw to what it resembles, so the class is half decided where it starts: a pull of phi alone
        has to drag most samples there against the ratio, and off the data. It costs one pass of the classifier a
        candidate.

        Args:
          draw: the draws number 0, 1, ..., [count, *event] each.
        """
        x = draw(0)
        if self.candidates == 1:
            return x
        params, labels, score = sharding.same(
            (self.classifier.params, self._labels(first, count), jnp.full(count, -jnp.inf))
        )
        for i in range(self.candidates):
            x, score = _likelier(self.classifier.apply, params, labels, draw(i) if i else x, x, score)
        return x

    def _labels(self, first: int, count: int) -> Int[Array, " count"]:
        return jnp.asarray(np.take(self.labels, np.arange(first, first + count), mode="wrap"), jnp.int32)


def _likelier_of_two(
    apply: Any, params: Params, labels: Array, new: Particles, x: Particles, score: Float[Array, " batch"]
) -> tuple[Particles, Float[Array, " batch"]]:
    """`new` where it is of the class rather than `x`, whose log p(class | x) is `score`; and the score of that."""
    log_probs = jax.nn.log_softmax(apply(params, new))
    of_new = jnp.take_along_axis(log_probs, labels[:, None], axis=1)[:, 0]
    better = of_new > score
    return jnp.where(better.reshape(-1, *(1 for _ in x.shape[1:])), new, x), jnp.maximum(of_new, score)


_likelier = Program(_likelier_of_two, static_argnames=("apply",))
